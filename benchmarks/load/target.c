/*
 * target: the four servers that a measured proxy leads to.
 *
 *     target        prints four ports of the loopback interface, "ECHO SINK SOURCE CLOCK\n", and serves until killed
 *
 *     echo          every byte comes back
 *     sink          the first eight bytes are a number, most significant first; then every so many bytes are
 *                   acknowledged with one
 *     source        from the first byte on, sends without end
 *     clock         the same, in blocks of 4 KiB that begin with the time (CLOCK_MONOTONIC, a double) when they were
 *                   written; its kernel keeps little of that
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum kind { ECHO, SINK, SOURCE, CLOCK, KINDS };

enum { BUFFER = 256 * 1024, ROUNDS = 4, CLOCK_BLOCK = 4096, CLOCK_ROOM = 32 * 1024 };

struct server {
    int fd;
    enum kind kind;
    bool listening;
    uint32_t events;        /* what epoll watches for */
    size_t unsent;          /* of what it owes: echoed bytes in pending, or acknowledgements */
    uint8_t *pending;
    uint64_t unit, counted; /* sink: bytes for an acknowledgement, and those since the last one */
    int unit_bytes;
    double time;            /* clock: of the current block, whose bytes are counted */
};

static uint8_t buffer[BUFFER];
static int epoll;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(struct server *server, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = server};

    if (operation == EPOLL_CTL_MOD && server->events == events)
        return;
    server->events = events;
    if (epoll_ctl(epoll, operation, server->fd, &event) < 0)
        die("epoll_ctl");
}

static struct server *add(int fd, enum kind kind, bool listening)
{
    struct server *server = calloc(1, sizeof *server);

    if (server == NULL)
        die("calloc");
    server->fd = fd;
    server->kind = kind;
    server->listening = listening;
    watch(server, EPOLLIN, EPOLL_CTL_ADD);
    return server;
}

static int listen_on_loopback(enum kind kind)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 4096) < 0
        || getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        die("listen");
    add(fd, kind, true);
    return ntohs(address.sin_port);
}

static void accept_all(struct server *listener)
{
    int fd, on = 1, room = CLOCK_ROOM;

    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (listener->kind == CLOCK)
            setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        add(fd, listener->kind, false);
    }
}

/* Write what can be written. Returns the number of bytes, 0 for none now, -1 when the connection is gone. */
static ssize_t send_some(struct server *server, const uint8_t *bytes, size_t size)
{
    ssize_t sent = write(server->fd, bytes, size);

    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static void count(struct server *sink, const uint8_t *bytes, size_t size)
{
    for (; sink->unit_bytes < 8 && size > 0; bytes++, size--, sink->unit_bytes++)
        sink->unit = sink->unit << 8 | *bytes;
    if (sink->unit_bytes < 8 || sink->unit == 0)
        return;
    sink->counted += size;
    sink->unsent += sink->counted / sink->unit;
    sink->counted %= sink->unit;
}

/* Returns false when the connection is gone. An echo reads nothing while it owes something. */
static bool readable(struct server *server)
{
    for (int round = 0; round < ROUNDS && !(server->kind == ECHO && server->unsent > 0); round++) {
        ssize_t size = read(server->fd, buffer, sizeof buffer);

        if (size < 0 && errno == EAGAIN)
            break;
        if (size <= 0)
            return false;
        switch (server->kind) {
        case ECHO: {
            ssize_t sent = send_some(server, buffer, size);

            if (sent < 0)
                return false;
            if (sent < size) {
                server->unsent = size - sent;
                server->pending = realloc(server->pending, server->unsent);
                if (server->pending == NULL)
                    die("realloc");
                memcpy(server->pending, buffer + sent, server->unsent);
            }
            break;
        }
        case SINK:
            count(server, buffer, size);
            break;
        default:
            server->unsent = SIZE_MAX;
        }
    }
    return true;
}

/* Write blocks, each with its time, the last one begun first. Returns false when the connection is gone. */
static bool tell_time(struct server *server)
{
    for (int round = 0; round < ROUNDS; round++) {
        ssize_t sent;

        if (server->counted % CLOCK_BLOCK == 0) {
            struct timespec time;

            clock_gettime(CLOCK_MONOTONIC, &time);
            server->time = time.tv_sec + time.tv_nsec * 1e-9;
        }
        memcpy(buffer, &server->time, sizeof server->time);
        sent = send_some(server, buffer + server->counted % CLOCK_BLOCK, CLOCK_BLOCK - server->counted % CLOCK_BLOCK);
        if (sent <= 0)
            return sent == 0;
        server->counted += sent;
    }
    return true;
}

/* Returns false when the connection is gone. */
static bool writable(struct server *server)
{
    if (server->kind == CLOCK)
        return tell_time(server);
    for (int round = 0; round < ROUNDS && server->unsent > 0; round++) {
        size_t size = server->unsent < sizeof buffer ? server->unsent : sizeof buffer;
        ssize_t sent = send_some(server, server->kind == ECHO ? server->pending : buffer, size);

        if (sent < 0)
            return false;
        if (sent == 0)
            break;
        if (server->kind == SOURCE)
            continue;
        server->unsent -= sent;
        if (server->kind == ECHO)
            memmove(server->pending, server->pending + sent, server->unsent);
    }
    return true;
}

static void serve(struct server *server, uint32_t events)
{
    bool alive = true;

    if (server->listening) {
        accept_all(server);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        alive = readable(server);
    if (alive && server->unsent > 0)
        alive = writable(server);
    if (alive) {
        watch(server, server->unsent > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
    } else {
        close(server->fd);
        free(server->pending);
        free(server);
    }
}

int main(void)
{
    struct epoll_event events[256];
    struct rlimit limit;
    int ports[KINDS];

    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    epoll = epoll_create1(0);
    for (enum kind kind = ECHO; kind < KINDS; kind++)
        ports[kind] = listen_on_loopback(kind);
    printf("%d %d %d %d\n", ports[ECHO], ports[SINK], ports[SOURCE], ports[CLOCK]);
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);

        for (int i = 0; i < count; i++)
            serve(events[i].data.ptr, events[i].events);
    }
}
