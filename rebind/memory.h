/*
 * Which sockets were moved, and the address each had asked for: the last 1024 of them.
 *
 * A socket is known by its cookie (SO_COOKIE, Linux 4.12), which the kernel never gives out twice: every dup
 * of the socket has it, and no close has to be watched. Bind, listen and getsockname are async-signal-safe
 * and may be called between fork and exec, so there is no lock: one held by another thread at fork would stay
 * held in the child.
 */

#ifndef REBIND_MEMORY_H
#define REBIND_MEMORY_H

#include "address.h"

#include <stdint.h>

/* The socket asked for one address, or for all addresses of both families, and has another one. */
void remember(uint64_t cookie, const union address *asked, bool both, const union address *local);

/* What the socket asked for; false for one that was not moved. */
bool recall(uint64_t cookie, union address *asked, bool *both);

/* The port that a socket of this family and port had asked for; 0 if none was moved there. */
in_port_t recall_port(const union address *local);

/* Whether nothing was ever moved: the answer is no to everything. */
bool is_blank(void);

#endif
