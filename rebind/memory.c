#include "memory.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

struct origin {
    union address asked;
    in_port_t port; /* that it has now */
    bool both;
};

enum { SLOTS = 1024, WORDS = sizeof(struct origin) / sizeof(uint64_t) };
_Static_assert(sizeof(struct origin) % sizeof(uint64_t) == 0, "an origin is a whole number of words");

/* The cookie of a slot is its socket's, 0 where it is empty, BUSY while its words are written. */
#define BUSY UINT64_MAX

static struct slot {
    _Atomic uint64_t cookie;
    _Atomic uint64_t words[WORDS];
} slots[SLOTS];

static atomic_uint next;

/* How many slots there are to look at: few programs fill more than two. */
static size_t used(void)
{
    unsigned int count = atomic_load(&next);

    return count < SLOTS ? count : SLOTS;
}

void remember(uint64_t cookie, const union address *asked, bool both, const union address *local)
{
    struct origin origin = {.asked = *asked, .port = port_of(local), .both = both};
    uint64_t words[WORDS], previous;
    struct slot *slot;

    do {
        slot = &slots[atomic_fetch_add(&next, 1) % SLOTS];
        previous = atomic_load(&slot->cookie);
    } while (previous == BUSY || !atomic_compare_exchange_strong(&slot->cookie, &previous, BUSY));
    memcpy(words, &origin, sizeof words);
    for (size_t i = 0; i < WORDS; i++)
        atomic_store(&slot->words[i], words[i]);
    atomic_store(&slot->cookie, cookie);
}

/* The cookie of the slot's socket, or 0; a slot that is rewritten meanwhile has another one afterwards. */
static uint64_t look(struct slot *slot, struct origin *origin)
{
    uint64_t words[WORDS], cookie = atomic_load(&slot->cookie);

    for (size_t i = 0; i < WORDS; i++)
        words[i] = atomic_load(&slot->words[i]);
    if (cookie == BUSY || atomic_load(&slot->cookie) != cookie)
        return 0;
    memcpy(origin, words, sizeof *origin);
    return cookie;
}

bool recall(uint64_t cookie, union address *asked, bool *both)
{
    struct origin origin;

    for (size_t i = 0; i < used(); i++) {
        if (look(&slots[i], &origin) == cookie && cookie != 0) {
            *asked = origin.asked;
            *both = origin.both;
            return true;
        }
    }
    return false;
}

in_port_t recall_port(const union address *local)
{
    struct origin origin;

    for (size_t i = 0; i < used(); i++) {
        if (look(&slots[i], &origin) != 0 && origin.port == port_of(local)
            && origin.asked.any.sa_family == local->any.sa_family)
            return port_of(&origin.asked);
    }
    return 0;
}

bool is_blank(void)
{
    return used() == 0;
}
