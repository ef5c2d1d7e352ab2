/*
 * Where the sockets of one tree of processes are, so that the kernel itself says which of their ports are in use.
 *
 * A tree has a port of its own, TREE below, which a guard on 127.0.0.1 keeps from everybody else. A socket that
 * asks for OLD is bound to it at an address that stands for what it asked for:
 *
 *     0.0.0.0:OLD           →  127.1.OLD/256.OLD%256:TREE         127.0.0.1:OLD  →  127.2.…:TREE
 *     [::]:OLD, both        →  ::ffff:127.3.…:TREE                other:OLD      →  127.4.… to 127.254.…:TREE
 *     [::ffff:IPV4]:OLD     →  ::ffff: and the same as of IPV4
 *     [::]:OLD, [::1]:OLD   →  [::1]:TREE, or a number made of OLD where every port is moved
 *     [other]:OLD           →  [::1]: a number made of OLD and the address
 *
 * So SO_REUSEADDR, SO_REUSEPORT, fork, exec, the last close and TIME_WAIT mean what they mean without us. What the
 * kernel would compare and here cannot, all addresses and one of them, is compared by tree_in_use. Of two other
 * addresses one pair in 250 has the same place, and [other] is not compared with [::].
 */

#ifndef REBIND_TREE_H
#define REBIND_TREE_H

#include "address.h"

struct tree {
    in_port_t port; /* 0 where there is no tree */
    in_port_t old;  /* the one port to move; 0: every one */
};

/* Where a socket is bound that asks for this, or for all addresses of both families. */
union address tree_place(const struct tree *tree, const union address *asked, bool both);

/* Whether another socket of the tree rules out one that asks for this. Makes and closes sockets; errno may change. */
bool tree_in_use(const struct tree *tree, const union address *asked, bool both, bool reuse_port);

/* Where a client finds who listens at this address of the loopback interface: false, and where nobody does, if it is
 * nobody of the tree. Makes and closes sockets; errno may change. */
bool tree_listener(const struct tree *tree, const union address *wanted, bool v6only, union address *place);

/* What a socket that is here has asked for, as far as the place tells: 127.0.0.1 stands for all others. False for
 * a place that tells nothing. */
bool tree_origin(const struct tree *tree, const union address *place, union address *asked, bool *both);

#endif
