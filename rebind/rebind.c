/*
 * rebind.so: moves the port that a program serves to the loopback interface, so that a proxy can have it.
 *
 * Loaded with LD_PRELOAD. A TCP socket that is bound to the port to move is bound to the loopback address of
 * its family instead:
 *
 *     bind(0.0.0.0:OLD)  →  127.0.0.1:NEW          bind([::]:OLD)  →  [::1]:NEW
 *
 * or, where a supervisor has a port of its own for the program and all that it starts, to a place there that stands
 * for what was asked for (tree.h), so that a port is in use within the tree as it would be without us.
 *
 * Variables, read when the library is loaded (a program may clear its environment before it binds):
 *
 *     REBIND_OLD_PORT   the port to move, 1 to 65535; or *: every port that is asked for by number
 *     REBIND_NEW_PORT   where to; 0 or unset, as it has to be for *: a port of the kernel's choice for each bind
 *     REBIND_TREE_PORT  the port of the tree, which its supervisor guards; REBIND_NEW_PORT is then 0 or unset
 *     REBIND_NOTIFY     unix datagram socket for reports: a path, or @NAME if it is abstract; up to 107 bytes
 *
 * A port that is anything but decimal digits in range turns the library off. Everything else passes through
 * untouched: other families and ports, UDP and SCTP, addresses that are null or too short.
 *
 * A moved socket is reported twice, when it has been bound and when it listens, each time in one datagram:
 *
 *     1 EVENT PID FAMILY ADDRESS PORT OLD-PORT OLD-ADDRESS\n
 *     as in    1 listen 4711 inet6 ::1 40123 5901 ::
 *
 * 1 is the version, EVENT bind, listen or taken, FAMILY inet or inet6, OLD-ADDRESS what was asked for, where * is all
 * addresses of both families; a reader ignores further fields. A launcher may bind only to see whether the port is
 * free: the program serves where it listened last. Outside of a tree a program that binds again, or once in each of
 * several SO_REUSEPORT workers, gets another port each time unless REBIND_NEW_PORT fixes one.
 *
 * In a tree a report comes with a descriptor, and the program waits until the reader has closed that, or is no more,
 * or for 2 s: whoever connects to the port next is served, and the reader can look at the process. Where every port
 * is moved, and one is in use outside, the reader is asked (EVENT taken) whether it is by itself, and says so with a
 * byte; if not, or if the port cannot be had there at all, bind fails as it would without us. Elsewhere reports are
 * never waited for. Nor is there anywhere a wait for a reader that lets its queue fill up
 * (net.unix.max_dgram_qlen, 10 by default): it loses some. A path is out of reach after chroot. Anyone in the network
 * namespace can write to an abstract socket: SO_PASSCRED tells its reader who did.
 *
 * IPv6: an AF_INET6 socket that is bound to an IPv4-mapped address serves IPv4 only, and goes on doing so at
 * ::ffff:127.0.0.1, reported as inet 127.0.0.1; in a tree, one for both families does so as well. Elsewhere that goes
 * to ::1, and to ::ffff:127.0.0.1 on a machine without; with IPV6_V6ONLY, bind fails there with EADDRNOTAVAIL.
 *
 * getsockname answers with the address that was asked for; memory.h says how it is remembered. That is lost on exec,
 * and where a socket is handed to a process that is no descendant. In a tree the place tells it still: of IPv4, the
 * port and whether all addresses or 127.0.0.1 were asked for; of IPv6, the one port to move. A listen on ::1 for which
 * there is neither is reported with OLD-PORT 0, for a reader that has kept what was said of the bind. Elsewhere the
 * true address shows, and a listen is not reported. A connection accepted on a moved socket shows the original port;
 * so does, wrongly, a connection to loopback that the kernel gives the port of a moved socket closed before.
 *
 * Within a tree, whoever connects to a moved port at an address of the loopback interface, or at none, meets who
 * listens there, as it would without us, and not the proxy; where nobody does, it is refused, or, where every port is
 * moved, goes where it wanted. getpeername shows 127.0.0.1 or ::1 and the port; what the place does not tell, only to
 * the process that has bound it.
 *
 * Not covered: static and setuid programs, programs that make system calls themselves (Go), io_uring,
 * programs of another word size than this library.
 */

#define _GNU_SOURCE
#include "address.h"
#include "memory.h"
#include "tree.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MAX = 2000 }; /* milliseconds for the answer to a report */

#define EXPORT __attribute__((visibility("default")))

static pthread_once_t once = PTHREAD_ONCE_INIT;

static int (*libc_bind)(int, const struct sockaddr *, socklen_t);
static int (*libc_listen)(int, int);
static int (*libc_getsockname)(int, struct sockaddr *, socklen_t *);
static int (*libc_connect)(int, const struct sockaddr *, socklen_t);
static int (*libc_getpeername)(int, struct sockaddr *, socklen_t *);

/* In network order; nothing is moved while old_port is 0, unless every port is. */
static in_port_t old_port, new_port;
static bool every_port;
static struct tree tree;
static struct sockaddr_un notify;
static socklen_t notify_length;


/* --- settings ------------------------------------------------------------------------------------------- */

/* The port that the text spells in decimal digits, or -1. */
static int parse_port(const char *text)
{
    int port = 0;

    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        port = port * 10 + (*text - '0');
        if (port > UINT16_MAX)
            return -1;
    }
    return port;
}

static void read_ports(void)
{
    const char *old_text = secure_getenv("REBIND_OLD_PORT");
    const char *new_text = secure_getenv("REBIND_NEW_PORT");
    const char *tree_text = secure_getenv("REBIND_TREE_PORT");
    int old = old_text == NULL ? -1 : parse_port(old_text);
    int new = new_text == NULL ? 0 : parse_port(new_text);
    int own = tree_text == NULL ? 0 : parse_port(tree_text);

    if (own < 0 || (own > 0 && new != 0))
        return;
    if (old_text != NULL && strcmp(old_text, "*") == 0)
        every_port = new == 0;
    if (old > 0 && new >= 0) {
        old_port = htons((uint16_t)old);
        new_port = htons((uint16_t)new);
    }
    if (old_port != 0 || every_port)
        tree = (struct tree){.port = htons((uint16_t)own), .old = old_port};
}

static void read_notify(void)
{
    const char *name = secure_getenv("REBIND_NOTIFY");
    size_t length = name == NULL ? 0 : strlen(name);

    if (length == 0 || length >= sizeof notify.sun_path)
        return;
    notify.sun_family = AF_UNIX;
    memcpy(notify.sun_path, name, length);
    if (name[0] == '@')
        notify.sun_path[0] = '\0';
    notify_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

static void find(const char *name, void *function)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    memcpy(function, &symbol, sizeof symbol);
}

static void prepare(void)
{
    find("bind", &libc_bind);
    find("listen", &libc_listen);
    find("getsockname", &libc_getsockname);
    find("connect", &libc_connect);
    find("getpeername", &libc_getpeername);
    read_ports();
    read_notify();
}

__attribute__((constructor)) static void loaded(void)
{
    pthread_once(&once, prepare);
}


/* --- sockets -------------------------------------------------------------------------------------------- */

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;

    return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

/* MPTCP counts: a plain TCP client can connect to it. */
static bool is_tcp(int fd)
{
    return option_of(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM
        && option_of(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_SCTP;
}

/* 0 for what is no socket. */
static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

static bool local_address(int fd, union address *local)
{
    socklen_t length = sizeof *local;

    *local = (union address){.v6 = {0}};
    return libc_getsockname(fd, &local->any, &length) == 0
        && (local->any.sa_family == AF_INET || local->any.sa_family == AF_INET6);
}

static bool is_bound(int fd)
{
    union address local;

    return local_address(fd, &local) && port_of(&local) != 0;
}

static bool peer_address(int fd, union address *peer)
{
    socklen_t length = sizeof *peer;

    *peer = (union address){.v6 = {0}};
    return libc_getpeername(fd, &peer->any, &length) == 0
        && (peer->any.sa_family == AF_INET || peer->any.sa_family == AF_INET6);
}

static bool is_connected(int fd)
{
    union address peer;

    return peer_address(fd, &peer);
}

/* Whether a moved socket may be there. */
static bool is_ours(const union address *local)
{
    return is_loopback(local) || (tree.port != 0 && port_of(local) == tree.port);
}

/* Whether any socket of this process may have been moved: here, or before it was executed. */
static bool is_concerned(void)
{
    return tree.port != 0 || !is_blank();
}


/* --- reports -------------------------------------------------------------------------------------------- */

/* Without waiting; with a descriptor, unless that is -1. */
static bool send_line(int fd, char *line, size_t length, int passed)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } control = {{0}};
    struct iovec text = {.iov_base = line, .iov_len = length};
    struct msghdr message = {
        .msg_name = &notify, .msg_namelen = notify_length, .msg_iov = &text, .msg_iovlen = 1};

    if (passed >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        control.aligned.cmsg_level = SOL_SOCKET;
        control.aligned.cmsg_type = SCM_RIGHTS;
        control.aligned.cmsg_len = CMSG_LEN(sizeof passed);
        memcpy(CMSG_DATA(&control.aligned), &passed, sizeof passed);
    }
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static int milliseconds_until(const struct timespec *end)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int)((end->tv_sec - now.tv_sec) * 1000 + (end->tv_nsec - now.tv_nsec) / 1000000);
}

/* Until the reader has closed its end of the pair, or is no more, or has had its time. Whether it has said yes. */
static bool send_and_wait(int fd, char *line, size_t length, int pair[2])
{
    struct pollfd answer = {.fd = pair[0], .events = POLLIN};
    struct timespec end;
    int rest = WAIT_MAX;
    char yes;
    bool sent = send_line(fd, line, length, pair[1]), said;

    close(pair[1]);
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += WAIT_MAX / 1000;
    while (sent && rest > 0 && poll(&answer, 1, rest) < 0 && errno == EINTR)
        rest = milliseconds_until(&end);
    said = recv(pair[0], &yes, 1, MSG_DONTWAIT) == 1;
    close(pair[0]);
    return said;
}

/* The socket is made for each report: a program would close, overwrite or inherit one that is kept open. Whether the
 * reader has said yes. */
static bool report(const char *event, const union address *asked, bool both, const union address *local)
{
    char line[192], asked_text[INET6_ADDRSTRLEN], local_text[INET6_ADDRSTRLEN];
    int fd, length, cancelling, pair[2];
    bool yes = false;

    if (notify_length == 0)
        return false;
    write_address(asked, asked_text);
    write_address(local, local_text);
    length = snprintf(line, sizeof line, "1 %s %ld %s %s %d %d %s\n", event, (long)getpid(),
                      is_inet(local) ? "inet" : "inet6", local_text, ntohs(port_of(local)),
                      ntohs(port_of(asked)), both ? "*" : asked_text);
    /* sendmsg and close are cancellation points, bind and listen are not */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        if (tree.port == 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
            send_line(fd, line, (size_t)length, -1);
        else
            yes = send_and_wait(fd, line, (size_t)length, pair);
        close(fd);
    }
    pthread_setcancelstate(cancelling, NULL);
    return yes;
}


/* --- bind ----------------------------------------------------------------------------------------------- */

static int bind_loopback(int fd, const union address *asked)
{
    sa_family_t family = asked->any.sa_family;
    union address address = loopback(family, is_inet(asked), new_port);
    int result = libc_bind(fd, &address.any, size_of(&address));

    if (result != 0 && errno == EADDRNOTAVAIL && !is_inet(&address)
        && option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0) {
        address = loopback(family, true, new_port);
        result = libc_bind(fd, &address.any, size_of(&address));
    }
    return result;
}

/* Bind another socket where this one asked for, and let go of it. 0, or what went wrong. */
static int try_outside(int fd, const union address *asked)
{
    static const int names[][2] = {
        {SOL_SOCKET, SO_REUSEADDR}, {SOL_SOCKET, SO_REUSEPORT}, {IPPROTO_IPV6, IPV6_V6ONLY}};
    int other = socket(asked->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), problem = 0;

    if (other < 0)
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int value = option_of(fd, names[i][0], names[i][1]);

        if (value >= 0)
            setsockopt(other, names[i][0], names[i][1], &value, sizeof value);
    }
    if (libc_bind(other, &asked->any, size_of(asked)) != 0)
        problem = errno;
    syscall(SYS_close, other); /* close is a cancellation point, bind is not */
    return problem;
}

/* The supervisor listens there for us as soon as we do, if it can. Where it listens already is no obstacle. */
static int outside_problem(int fd, const union address *asked, bool both, const union address *place)
{
    int problem = every_port && notify_length != 0 ? try_outside(fd, asked) : 0;

    return problem == EADDRINUSE && report("taken", asked, both, place) ? 0 : problem;
}

static int bind_place(int fd, const union address *asked, bool both)
{
    union address place = tree_place(&tree, asked, both);
    int problem = outside_problem(fd, asked, both, &place);

    if (problem == 0 && tree_in_use(&tree, asked, both, option_of(fd, SOL_SOCKET, SO_REUSEPORT) > 0))
        problem = EADDRINUSE;
    if (problem != 0) {
        errno = problem;
        return -1;
    }
    if (libc_bind(fd, &place.any, size_of(&place)) == 0)
        return 0;
    /* the loopback interface may have but one IPv4 address */
    return errno == EADDRNOTAVAIL && is_inet(&place) ? bind_loopback(fd, asked) : -1;
}

static bool is_to_move(const union address *asked)
{
    return every_port ? port_of(asked) != 0 : port_of(asked) == old_port;
}

EXPORT int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    int before = errno;
    union address asked, local;
    bool both;

    pthread_once(&once, prepare);
    if ((old_port == 0 && !every_port) || !parse_address(address, length, &asked) || !is_to_move(&asked)
        || !is_tcp(fd) || is_bound(fd))
        return libc_bind(fd, address, length);
    /* a socket that is bound to ::1 turns IPV6_V6ONLY on */
    both = is_any(&asked) && option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0;
    if ((tree.port != 0 ? bind_place(fd, &asked, both) : bind_loopback(fd, &asked)) != 0)
        return -1;
    if (local_address(fd, &local)) {
        remember(cookie_of(fd), &asked, both, &local);
        report("bind", &asked, both, &local);
    }
    errno = before;
    return 0;
}


/* --- listen --------------------------------------------------------------------------------------------- */

/* What a socket that listens at a place of ours has asked for; nothing, with port 0, if only another process knows. */
static bool listens_for(int fd, const union address *local, union address *asked, bool *both)
{
    if (recall(cookie_of(fd), asked, both) || tree_origin(&tree, local, asked, both))
        return true;
    *asked = *local;
    set_port(asked, 0);
    *both = false;
    return tree.port != 0 && is_loopback(local) && !is_inet(local) && is_tcp(fd);
}

EXPORT int listen(int fd, int backlog)
{
    int before = errno;
    union address asked, local;
    bool both;

    pthread_once(&once, prepare);
    if (libc_listen(fd, backlog) != 0)
        return -1;
    if (is_concerned() && local_address(fd, &local) && listens_for(fd, &local, &asked, &both))
        report("listen", &asked, both, &local);
    errno = before;
    return 0;
}


/* --- getsockname ---------------------------------------------------------------------------------------- */

/* What to show of a socket that was moved, or accepted on one that was; false for any other. */
static bool shown_address(int fd, union address *shown)
{
    union address local;
    in_port_t port;
    bool both;

    if (!is_concerned() || !local_address(fd, &local) || !is_ours(&local) || !is_tcp(fd))
        return false;
    if (recall(cookie_of(fd), shown, &both))
        return true;
    if (tree_origin(&tree, &local, shown, &both)) {
        if (is_connected(fd))
            *shown = loopback(local.any.sa_family, is_inet(&local), port_of(shown));
        return true;
    }
    port = is_loopback(&local) ? recall_port(&local) : 0;
    *shown = local;
    set_port(shown, port);
    return port != 0;
}

/* The kernel checks the pointers and sets the length, which is the same for both addresses. */
static int show(int (*name)(int, struct sockaddr *, socklen_t *), int fd, const union address *shown,
                struct sockaddr *address, socklen_t *length)
{
    socklen_t room = *length;

    if (name(fd, address, length) != 0)
        return -1;
    memcpy(address, shown, room < size_of(shown) ? room : size_of(shown));
    return 0;
}

EXPORT int getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    int before = errno;
    union address shown;
    bool differs;

    pthread_once(&once, prepare);
    differs = address != NULL && length != NULL && shown_address(fd, &shown);
    errno = before;
    if (!differs)
        return libc_getsockname(fd, address, length);
    return show(libc_getsockname, fd, &shown, address, length);
}


/* --- connect -------------------------------------------------------------------------------------------- */

/* A program that looks whether its server has started, or after its health, is not to meet the proxy. */
EXPORT int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int before = errno;
    union address wanted, place;
    bool redirected;

    pthread_once(&once, prepare);
    if (tree.port == 0 || !parse_address(address, length, &wanted) || !is_to_move(&wanted))
        return libc_connect(fd, address, length);
    wanted = destination(&wanted);
    redirected = is_here(&wanted) && is_tcp(fd)
        && (tree_listener(&tree, &wanted, option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY) > 0, &place) || !every_port);
    errno = before;
    return redirected ? libc_connect(fd, &place.any, size_of(&place)) : libc_connect(fd, address, length);
}


/* --- getpeername ---------------------------------------------------------------------------------------- */

static bool shown_peer(int fd, union address *shown)
{
    union address peer;
    in_port_t port;
    bool both = false;

    if (tree.port == 0 || !peer_address(fd, &peer) || !is_here(&peer) || !is_tcp(fd))
        return false;
    port = tree_origin(&tree, &peer, shown, &both) ? port_of(shown) : is_inet(&peer) ? 0 : recall_port(&peer);
    *shown = loopback(peer.any.sa_family, is_inet(&peer) && !both, port);
    return port != 0;
}

EXPORT int getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
    int before = errno;
    union address shown;
    bool differs;

    pthread_once(&once, prepare);
    differs = address != NULL && length != NULL && shown_peer(fd, &shown);
    errno = before;
    if (!differs)
        return libc_getpeername(fd, address, length);
    return show(libc_getpeername, fd, &shown, address, length);
}
