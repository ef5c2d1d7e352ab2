/* One connection of the load generator, from connect to the payload of frames. */

#ifndef CLIENT_H
#define CLIENT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum scheme { TCP, WS, WSS };

enum stage { CLOSED, CONNECTING, SECURING, UPGRADING, OPEN };

enum { HEADER_MAX = 14 };

enum { CLOCK_BLOCK = 4096 }; /* bytes from one time to the next, of what CLOCK sends */

struct client {
    enum stage stage;
    int fd;
    SSL *ssl;
    uint32_t events;     /* what epoll watches for */
    char answer[2048];   /* of HTTP, while UPGRADING */
    size_t answer_size;
    uint8_t header[10];  /* of a frame, as far as it has come */
    size_t header_size;
    uint64_t payload;    /* bytes to come of the current frame */

    /* of the scenario */
    size_t awaited;      /* bytes until the message in flight is complete; 0 for none in flight */
    double since;        /* when it was sent, or when the connection was begun */
    uint64_t sent, acknowledged;
    uint8_t stamp[sizeof(double)];
};

/* What the owner of a client is told. */
struct owner {
    void (*opened)(struct client *);
    /* payload; the client may be closed from within */
    void (*received)(struct client *, const uint8_t *bytes, size_t size);
    void (*writable)(struct client *);
    /* it has been closed by the proxy; NULL: that ends the program with a line on stderr */
    void (*lost)(struct client *);
};

/* Once, before anything else. The port is on the loopback interface. */
void clients_begin(enum scheme scheme, int port, const struct owner *owner);

/*
 * Before the first connects: their kernels take so many bytes for them, roughly, and what has come is read with
 * client_read only, a quarter of that at a time.
 */
void clients_slow(int room);

/* Returns false when there is nothing now. */
bool client_read(struct client *client);

/* Wait for events, for so many milliseconds at most, and tell the owner. */
void clients_turn(int timeout);

/* Fill *client and begin to connect. Any failure from here on ends the program with a line on stderr. */
void client_connect(struct client *client);

/* Whether writable() is called when the socket takes bytes. */
void client_watch(struct client *client, bool writable);

/* Write bytes as they are. Returns how many were taken; 0 when the socket is full. */
size_t client_write(struct client *client, const uint8_t *bytes, size_t size);

/* Close without a Close frame, as a browser that goes away does. */
void client_close(struct client *client);

/*
 * One masked message, or the bare payload for TCP, at *to, which has room for HEADER_MAX bytes more than the
 * payload. Returns its size.
 */
size_t make_message(uint8_t *to, const uint8_t *payload, size_t size);

double now(void);

#endif
