/*
 * IPv4 and IPv6 socket addresses, as far as moving a port needs them. Ports are in network order.
 */

#ifndef REBIND_ADDRESS_H
#define REBIND_ADDRESS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Read what a program gave to bind, as getsockname would give it back. False for other families, null and
 * addresses of a length that the kernel refuses. */
bool parse_address(const struct sockaddr *given, socklen_t length, union address *address);

/* 127.0.0.1 or ::1 or, where an AF_INET6 address is to be IPv4-mapped, ::ffff:127.0.0.1. */
union address loopback(sa_family_t family, bool mapped, in_port_t port);

/* Whether it is one of the addresses that loopback() makes, whatever its family and port. */
bool is_loopback(const union address *address);

/* What a client means that connects to this: 127.0.0.1 or ::1 where it names no address. */
union address destination(const union address *address);

/* Whether it is any address of the loopback interface: 127.0.0.0/8, IPv4-mapped or not, and ::1. */
bool is_here(const union address *address);

/* Whether IPv4 is what it speaks. */
bool is_inet(const union address *address);

/* The IPv4 address, in network order, where it is one, IPv4-mapped or not. */
in_addr_t ipv4_of(const union address *address);

/* Whether it is all addresses of IPv6, and of IPv4 too where the socket is not IPv6 only. */
bool is_any(const union address *address);

/* Spell the IP address. An IPv4-mapped one is spelled as what it is mapped from; a scope is left out. */
void write_address(const union address *address, char text[INET6_ADDRSTRLEN]);

socklen_t size_of(const union address *address);
in_port_t port_of(const union address *address);
void set_port(union address *address, in_port_t port);

#endif
