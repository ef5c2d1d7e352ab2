#define _GNU_SOURCE
#include "tree.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The second byte of a place. 0 is left out: 127.0.0.1 and its neighbours are everybody's. */
enum { ALL = 1, LOOPBACK, BOTH, OTHER, LAST = 254 };

/* Below are the ports of services, above those that the kernel gives out by itself. */
enum { NUMBER_MIN = 10000, NUMBER_MAX = 32767 };

static const struct in6_addr mapped = {{{[10] = 0xff, [11] = 0xff}}};

/* Neighbours in a network never have the same. */
static uint8_t kind_of(const union address *asked, bool both)
{
    uint32_t ip;

    if (both)
        return BOTH;
    ip = ntohl(ipv4_of(asked));
    if (ip == INADDR_ANY)
        return ALL;
    if (ip == INADDR_LOOPBACK)
        return LOOPBACK;
    ip = (ip >> 24) * 167 + (ip >> 16 & 255) * 59 + (ip >> 8 & 255) * 101 + (ip & 255);
    return (uint8_t)(OTHER + ip % (LAST - OTHER + 1));
}

static union address place_v4(const struct tree *tree, sa_family_t family, uint8_t kind, in_port_t old)
{
    union address place = {.v6 = {0}};
    uint32_t ip = htonl(127U << 24 | (uint32_t)kind << 16 | ntohs(old));

    place.any.sa_family = family;
    set_port(&place, tree->port);
    if (family == AF_INET) {
        place.v4.sin_addr.s_addr = ip;
    } else {
        place.v6.sin6_addr = mapped;
        memcpy(&place.v6.sin6_addr.s6_addr[12], &ip, sizeof ip);
    }
    return place;
}

/* FNV-1a */
static uint32_t hash(uint32_t state, const void *bytes, size_t count)
{
    for (const unsigned char *at = bytes; count > 0; count--)
        state = (state ^ *at++) * 16777619;
    return state;
}

static in_port_t number_of(const struct tree *tree, const union address *asked)
{
    const struct in6_addr *ip = &asked->v6.sin6_addr;
    bool usual = IN6_IS_ADDR_UNSPECIFIED(ip) || IN6_IS_ADDR_LOOPBACK(ip);
    in_port_t old = port_of(asked);
    uint32_t state = 2166136261;

    if (usual && tree->old != 0)
        return tree->port;
    state = hash(state, &tree->port, sizeof tree->port);
    state = hash(state, &old, sizeof old);
    if (!usual)
        state = hash(state, ip, sizeof *ip);
    return htons((uint16_t)(NUMBER_MIN + state % (NUMBER_MAX - NUMBER_MIN + 1)));
}

union address tree_place(const struct tree *tree, const union address *asked, bool both)
{
    sa_family_t family = asked->any.sa_family;

    if (both || is_inet(asked))
        return place_v4(tree, family, kind_of(asked, both), port_of(asked));
    return loopback(AF_INET6, false, number_of(tree, asked));
}

/* A listener always rules out another socket, whatever SO_REUSEADDR says; one that is only bound need not. */
static bool is_used(const union address *place, bool reuse_port)
{
    int fd = socket(place->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    bool used;

    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (reuse_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    used = syscall(SYS_bind, fd, &place->any, size_of(place)) != 0 && errno == EADDRINUSE;
    syscall(SYS_close, fd); /* close is a cancellation point, bind is not */
    return used;
}

static bool kind_used(const struct tree *tree, uint8_t kind, in_port_t old, bool reuse_port)
{
    union address place = place_v4(tree, AF_INET, kind, old);

    return is_used(&place, reuse_port);
}

bool tree_in_use(const struct tree *tree, const union address *asked, bool both, bool reuse_port)
{
    in_port_t old = port_of(asked);
    union address place;
    uint8_t own;

    if (!both && !is_inet(asked))
        return kind_used(tree, BOTH, old, reuse_port);
    own = kind_of(asked, both);
    if (own != ALL && own != BOTH)
        return kind_used(tree, ALL, old, reuse_port) || kind_used(tree, BOTH, old, reuse_port);
    for (uint8_t kind = ALL; kind <= LAST; kind++) {
        if (kind != own && kind_used(tree, kind, old, reuse_port))
            return true;
    }
    if (own == ALL)
        return false;
    place = tree_place(tree, asked, false);
    return is_used(&place, reuse_port);
}

bool tree_listener(const struct tree *tree, const union address *wanted, bool v6only, union address *place)
{
    in_port_t old = port_of(wanted);
    sa_family_t family = wanted->any.sa_family;

    if (is_inet(wanted)) {
        uint8_t kinds[] = {kind_of(wanted, false), ALL, BOTH};

        for (size_t i = 0; i < sizeof kinds; i++) {
            *place = place_v4(tree, family, kinds[i], old);
            if (kind_used(tree, kinds[i], old, false))
                return true;
        }
        return false;
    }
    if (!v6only && kind_used(tree, BOTH, old, false)) {
        *place = place_v4(tree, family, BOTH, old);
        return true;
    }
    *place = tree_place(tree, wanted, false);
    return is_used(place, false);
}

bool tree_origin(const struct tree *tree, const union address *place, union address *asked, bool *both)
{
    sa_family_t family = place->any.sa_family;
    uint32_t ip = ntohl(ipv4_of(place)), kind = ip >> 16 & 255;

    if (tree->port == 0 || port_of(place) != tree->port)
        return false;
    *both = false;
    *asked = (union address){.v6 = {0}};
    asked->any.sa_family = family;
    if (!is_inet(place)) {
        set_port(asked, tree->old);
        return tree->old != 0 && is_loopback(place);
    }
    if (ip >> 24 != 127 || kind < ALL || kind > LAST)
        return false;
    *both = kind == BOTH;
    if (kind >= LOOPBACK && kind != BOTH)
        *asked = loopback(family, true, 0);
    else if (family == AF_INET6 && kind == ALL)
        asked->v6.sin6_addr = mapped;
    set_port(asked, htons((uint16_t)ip));
    return true;
}
