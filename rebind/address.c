#include "address.h"

#include <stddef.h>
#include <string.h>

/* Shorter than struct sockaddr_in6: the kernel also takes the address of RFC 2133, which has no scope. */
enum { V6_LENGTH_MIN = offsetof(struct sockaddr_in6, sin6_scope_id) };

static const struct in6_addr mapped_loopback = {{{[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}}};

bool parse_address(const struct sockaddr *given, socklen_t length, union address *address)
{
    union address copy = {0};

    if (given == NULL || length < sizeof copy.v4 || length > sizeof(struct sockaddr_storage))
        return false;
    memcpy(&copy, given, length < sizeof copy ? length : sizeof copy);
    *address = (union address){.v6 = {0}};
    switch (copy.any.sa_family) {
    case AF_INET:
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = copy.v4.sin_port;
        address->v4.sin_addr = copy.v4.sin_addr;
        return true;
    case AF_INET6:
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = copy.v6.sin6_port;
        address->v6.sin6_addr = copy.v6.sin6_addr;
        if (IN6_IS_ADDR_LINKLOCAL(&copy.v6.sin6_addr))
            address->v6.sin6_scope_id = copy.v6.sin6_scope_id;
        return length >= V6_LENGTH_MIN;
    default:
        return false;
    }
}

union address loopback(sa_family_t family, bool mapped, in_port_t port)
{
    union address address = {.v6 = {0}};

    address.any.sa_family = family;
    set_port(&address, port);
    if (family == AF_INET)
        address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        address.v6.sin6_addr = mapped ? mapped_loopback : in6addr_loopback;
    return address;
}

bool is_loopback(const union address *address)
{
    switch (address->any.sa_family) {
    case AF_INET:
        return address->v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK);
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr)
            || IN6_ARE_ADDR_EQUAL(&address->v6.sin6_addr, &mapped_loopback);
    default:
        return false;
    }
}

in_addr_t ipv4_of(const union address *address)
{
    in_addr_t ip = INADDR_ANY;

    if (address->any.sa_family == AF_INET)
        ip = address->v4.sin_addr.s_addr;
    else if (is_inet(address))
        memcpy(&ip, &address->v6.sin6_addr.s6_addr[12], sizeof ip);
    return ip;
}

union address destination(const union address *address)
{
    if (is_inet(address) ? ipv4_of(address) == INADDR_ANY : is_any(address))
        return loopback(address->any.sa_family, is_inet(address), port_of(address));
    return *address;
}

bool is_here(const union address *address)
{
    return is_inet(address) ? ntohl(ipv4_of(address)) >> 24 == 127 : is_loopback(address);
}

bool is_inet(const union address *address)
{
    return address->any.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr);
}

bool is_any(const union address *address)
{
    return address->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr);
}

void write_address(const union address *address, char text[INET6_ADDRSTRLEN])
{
    if (address->any.sa_family == AF_INET)
        inet_ntop(AF_INET, &address->v4.sin_addr, text, INET6_ADDRSTRLEN);
    else if (is_inet(address))
        inet_ntop(AF_INET, &address->v6.sin6_addr.s6_addr[12], text, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, &address->v6.sin6_addr, text, INET6_ADDRSTRLEN);
}

socklen_t size_of(const union address *address)
{
    return address->any.sa_family == AF_INET ? sizeof address->v4 : sizeof address->v6;
}

in_port_t port_of(const union address *address)
{
    return address->any.sa_family == AF_INET ? address->v4.sin_port : address->v6.sin6_port;
}

void set_port(union address *address, in_port_t port)
{
    if (address->any.sa_family == AF_INET)
        address->v4.sin_port = port;
    else
        address->v6.sin6_port = port;
}
