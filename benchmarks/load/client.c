#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BINARY = 0x2, CLOSE = 0x8, PING = 0x9, PONG = 0xa, FIN = 0x80, MASKED = 0x80 };

enum { READS = 8 }; /* of one client at a time, so that others have their turn */

static enum scheme scheme;
static struct sockaddr_in address;
static const struct owner *owner;
static SSL_CTX *context;
static char request[4096];
static size_t request_size;
static int epoll;
static int slow_room; /* 0 unless clients are slow */

double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "load: %s%s%s\n", what, errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    exit(1);
}

/* This client will come to nothing. */
static void lose(struct client *client, const char *what)
{
    if (owner->lost == NULL)
        fail(what);
    client_close(client);
    owner->lost(client);
}

void clients_begin(enum scheme the_scheme, int port, const struct owner *the_owner)
{
    const char *path = getenv("LOAD_PATH");

    scheme = the_scheme;
    owner = the_owner;
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    epoll = epoll_create1(0);
    request_size = snprintf(
        request, sizeof request,
        "GET %s HTTP/1.1\r\n"
        "Host: 127.0.0.1:%d\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Origin: %s://127.0.0.1:%d\r\n"
        "Sec-WebSocket-Key: d3Nwcm94eSBiZW5jaG1hcg==\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: binary\r\n\r\n",
        path != NULL ? path : "/websockify", port, scheme == WSS ? "https" : "http", port);
    if (request_size >= sizeof request)
        fail("LOAD_PATH is too long");
    if (scheme == WSS) {
        context = SSL_CTX_new(TLS_client_method());
        if (context == NULL)
            fail("TLS");
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
}

void clients_slow(int room)
{
    slow_room = room;
}

static void watch(struct client *client, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = client};

    if (client->events == events)
        return;
    client->events = events;
    if (epoll_ctl(epoll, operation, client->fd, &event) < 0)
        fail("epoll_ctl");
}

void client_watch(struct client *client, bool writable)
{
    uint32_t reading = slow_room > 0 && client->stage == OPEN ? 0 : EPOLLIN;

    watch(client, writable ? reading | EPOLLOUT : reading, EPOLL_CTL_MOD);
}

void client_connect(struct client *client)
{
    int on = 1;

    memset(client, 0, sizeof *client);
    client->since = now();
    client->stage = CONNECTING;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0)
        fail("socket");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (slow_room > 0)
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &slow_room, sizeof slow_room);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("connect");
    watch(client, EPOLLOUT, EPOLL_CTL_ADD);
}

void client_close(struct client *client)
{
    client->stage = CLOSED;
    SSL_free(client->ssl);
    close(client->fd);
}

/* What a TLS call returned, as read(2) and write(2) would: 0 for the end, -1 with EAGAIN for not now. */
static ssize_t tls_result(struct client *client, int result)
{
    if (result > 0)
        return result;
    switch (SSL_get_error(client->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        errno = EIO;
        return -1;
    }
}

/* Returns 0 when there is nothing now. */
static size_t receive(struct client *client, void *buffer, size_t size)
{
    ssize_t count = client->ssl != NULL ? tls_result(client, SSL_read(client->ssl, buffer, size))
                                        : read(client->fd, buffer, size);

    if (count > 0)
        return count;
    if (count < 0 && errno == EAGAIN)
        return 0;
    if (count == 0)
        errno = 0;
    lose(client, "connection closed by the proxy");
    return 0;
}

size_t client_write(struct client *client, const uint8_t *bytes, size_t size)
{
    ssize_t count = client->ssl != NULL ? tls_result(client, SSL_write(client->ssl, bytes, size))
                                        : write(client->fd, bytes, size);

    if (count > 0)
        return count;
    if (count < 0 && errno == EAGAIN)
        return 0;
    lose(client, "writing");
    return 0;
}

static size_t make_frame(uint8_t *to, int opcode, const uint8_t *payload, size_t size)
{
    static const uint8_t key[4] = {0x12, 0x9a, 0x5f, 0xc3};
    int length_bytes = size < 126 ? 0 : size < 0x10000 ? 2 : 8;
    uint8_t *at = to;

    *at++ = FIN | opcode;
    *at++ = MASKED | (length_bytes == 0 ? size : length_bytes == 2 ? 126 : 127);
    for (int i = length_bytes - 1; i >= 0; i--)
        *at++ = (uint64_t)size >> (8 * i);
    memcpy(at, key, sizeof key);
    at += sizeof key;
    for (size_t i = 0; i < size; i++)
        *at++ = payload[i] ^ key[i % sizeof key];
    return at - to;
}

size_t make_message(uint8_t *to, const uint8_t *payload, size_t size)
{
    if (scheme != TCP)
        return make_frame(to, BINARY, payload, size);
    memcpy(to, payload, size);
    return size;
}

static void open_client(struct client *client)
{
    client->stage = OPEN;
    client_watch(client, false);
    owner->opened(client);
}

/* A frame's header is complete. */
static void begin_frame(struct client *client)
{
    uint8_t pong[HEADER_MAX];
    uint64_t length = client->header[1] & 0x7f;

    if (client->header_size > 2) {
        length = 0;
        for (size_t i = 2; i < client->header_size; i++)
            length = length << 8 | client->header[i];
    }
    client->payload = length;
    client->header_size = 0;
    errno = 0;
    switch (client->header[0] & 0x0f) {
    case CLOSE:
        fail("Close frame from the proxy");
    case PING: /* the heartbeats of proxies are empty, and want no more than a sign of life */
        if (length > 0)
            fail("ping with a payload");
        client_write(client, pong, make_frame(pong, PONG, NULL, 0));
    }
}

/* Hand on the payload in what the proxy sent. The owner may close the client meanwhile. */
static void parse(struct client *client, const uint8_t *bytes, size_t size)
{
    if (scheme == TCP) {
        owner->received(client, bytes, size);
        return;
    }
    while (size > 0 && client->stage == OPEN) {
        if (client->payload > 0) {
            size_t part = size < client->payload ? size : client->payload;

            client->payload -= part;
            bytes += part;
            size -= part;
            owner->received(client, bytes - part, part);
        } else {
            int length;

            client->header[client->header_size++] = *bytes++;
            size--;
            length = client->header_size < 2 ? -1 : client->header[1] & 0x7f;
            if (client->header_size == (length == 127 ? 10 : length == 126 ? 4 : 2) && length >= 0)
                begin_frame(client);
        }
    }
}

static void upgrade(struct client *client)
{
    if (scheme == TCP) {
        open_client(client);
        return;
    }
    if (client_write(client, (const uint8_t *)request, request_size) != request_size) {
        if (client->stage != CLOSED)
            fail("writing the request");
        return;
    }
    client->stage = UPGRADING;
    client_watch(client, false);
}

static void secure(struct client *client)
{
    int result;

    if (client->ssl == NULL) {
        client->ssl = SSL_new(context);
        SSL_set_fd(client->ssl, client->fd);
        SSL_set_connect_state(client->ssl);
        client->stage = SECURING;
    }
    result = SSL_do_handshake(client->ssl);
    if (result == 1) {
        upgrade(client);
    } else {
        if (tls_result(client, result) == 0 || errno != EAGAIN) {
            lose(client, "TLS handshake");
            return;
        }
        client_watch(client, SSL_want_write(client->ssl));
    }
}

static void read_answer(struct client *client)
{
    char *end;
    size_t room = sizeof client->answer - client->answer_size;

    client->answer_size += receive(client, client->answer + client->answer_size, room);
    if (client->stage == CLOSED)
        return;
    end = memmem(client->answer, client->answer_size, "\r\n\r\n", 4);
    errno = 0;
    if (end == NULL) {
        if (client->answer_size == sizeof client->answer)
            fail("endless answer to the upgrade");
        return;
    }
    if (strncmp(client->answer, "HTTP/1.1 101", 12) != 0) {
        lose(client, "upgrade refused");
        return;
    }
    end += 4;
    open_client(client);
    parse(client, (uint8_t *)end, client->answer + client->answer_size - end);
}

static uint8_t buffer[256 * 1024];

bool client_read(struct client *client)
{
    size_t size = receive(client, buffer, slow_room / 4);

    parse(client, buffer, size);
    return size > 0;
}

static void read_frames(struct client *client)
{
    int reads = 0;

    /* what OpenSSL has decrypted already, epoll does not know of */
    while (client->stage == OPEN && (reads++ < READS || (client->ssl != NULL && SSL_pending(client->ssl) > 0))) {
        size_t size = receive(client, buffer, sizeof buffer);

        if (size == 0)
            return;
        parse(client, buffer, size);
    }
}

static void serve(struct client *client, uint32_t events)
{
    if (client->stage == CONNECTING && scheme != WSS)
        upgrade(client);
    else if (client->stage == CONNECTING || client->stage == SECURING)
        secure(client);
    else if (client->stage == UPGRADING)
        read_answer(client);
    if (client->stage == OPEN && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_frames(client);
    if (client->stage == OPEN && events & client->events & EPOLLOUT)
        owner->writable(client);
}

void clients_turn(int timeout)
{
    struct epoll_event events[512];
    int count = epoll_wait(epoll, events, 512, timeout);

    for (int i = 0; i < count; i++)
        serve(events[i].data.ptr, events[i].events);
}
