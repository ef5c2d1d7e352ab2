/*
 * load: puts a WebSocket-to-TCP proxy to work that leads to one of the servers of target.c.
 *
 *     load SCHEME down    PORT CLIENTS SECONDS              each reads from SOURCE
 *     load SCHEME up      PORT CLIENTS SECONDS SIZE         each sends messages of SIZE bytes to SINK
 *     load SCHEME echo    PORT CLIENTS SECONDS SIZE [RATE]  each sends SIZE bytes to ECHO when the last have come
 *                                                           back, or RATE times a second at most
 *     load SCHEME age     PORT CLIENTS SECONDS RATE         each reads RATE bytes a second from CLOCK
 *     load SCHEME connect PORT CLIENTS SECONDS              each connects, has one byte echoed, closes, and so on
 *     load SCHEME idle    PORT CLIENTS                      all connect, have one byte echoed, and do nothing,
 *                                                           until standard input ends
 *     load SCHEME return  PORT CLIENTS SECONDS SIZE RATE    100 others echo so for SECONDS; then all of these connect
 *                                                           at once, and have one byte echoed
 *
 * SCHEME is ws, wss, or tcp for proxies that speak no WebSocket. Prints "open" when all clients are connected and
 * the time begins, then one line of JSON: the seconds that passed, the units of work done in them (payload bytes
 * that arrived for down, up and age, else round trips), and the median and 99th percentile of round trips in seconds;
 * for age of how old what comes is, in the second half of the time. For return the seconds are until the last client is
 * in or has been refused, and the units those that are in; trips are those of the 100 meanwhile, with the longest and
 * the 99th percentile of before.
 * Whatever goes wrong ends it with a line on stderr and status 1.
 */

#define _GNU_SOURCE
#include "client.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    OPENING = 16,            /* clients that connect at the same time: some proxies have a short backlog */
    OPENING_LIMIT = 120,     /* seconds for all clients to connect */
    RUN = 256 * 1024,        /* bytes for one write(2) of UP */
    UNIT = 64 * 1024,        /* bytes that SINK acknowledges at a time */
    WINDOW = 1024 * 1024,    /* bytes that UP sends ahead of that: some proxies read without end before they write */
    INTERACTIVE = 100,       /* clients that are there when others return */
    SLOW_ROOM = 64 * 1024,   /* bytes that wait for a slow client with its own kernel, roughly */
    SIZE_LIMIT = 1024 * 1024 /* of a message */
};

enum scenario { DOWN, UP, ECHO, CONNECT, IDLE, AGE, RETURN, SCENARIOS };

static const char *const scenario_names[] = {"down", "up", "echo", "connect", "idle", "age", "return"};

static enum scenario scenario;
static struct client *clients;
static size_t client_count, started, opened, refused;
static size_t size = 1;
static double rate;
static double half; /* the time when ages begin to count */

static uint64_t units;
static uint8_t *message; /* what a client sends at a time: one message, or for UP a run of them */
static size_t message_size, payload_size;

static double *trips;
static size_t trip_count, trip_room;

static void add_trip(double seconds)
{
    if (trip_count == trip_room) {
        trip_room = trip_room * 2 + 1024;
        trips = realloc(trips, trip_room * sizeof *trips);
        if (trips == NULL)
            abort();
    }
    trips[trip_count++] = seconds;
}

/* Messages are small and there is one in flight: a socket that does not take it is broken. */
static void send_small(struct client *client, const uint8_t *bytes, size_t byte_count)
{
    if (client_write(client, bytes, byte_count) != byte_count && client->stage != CLOSED) {
        fprintf(stderr, "load: a small message was not taken\n");
        exit(1);
    }
}

static void send_message(struct client *client)
{
    client->awaited = size;
    send_small(client, message, message_size);
}

static void send_run(struct client *client)
{
    size_t at = client->sent % message_size;
    int64_t ahead;

    client->sent += client_write(client, message + at, message_size - at);
    ahead = client->sent / message_size * payload_size - client->acknowledged;
    client_watch(client, ahead < WINDOW);
}

/* The clock runs: put this client to work. */
static void begin(struct client *client)
{
    uint8_t unit[8], frame[sizeof unit + HEADER_MAX];

    switch (scenario) {
    case DOWN:
    case AGE:
        send_message(client);
        break;
    case UP:
        for (int i = 0; i < 8; i++)
            unit[i] = (uint64_t)UNIT >> (56 - 8 * i);
        send_small(client, frame, make_message(frame, unit, sizeof unit));
        client_watch(client, true);
        break;
    case ECHO:
        client->since = now();
        if (rate == 0)
            send_message(client);
        break;
    default:
        break;
    }
}

static void ready(void)
{
    opened++;
    if (started < client_count)
        client_connect(&clients[started++]);
}

static void when_opened(struct client *client)
{
    if (scenario == CONNECT || scenario == IDLE || scenario == RETURN)
        send_message(client);
    else
        ready();
}

/* Each block begins with the time when it was written. */
static void read_clock(struct client *client, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = (client->acknowledged + i) % CLOCK_BLOCK;

        if (at < sizeof client->stamp)
            client->stamp[at] = bytes[i];
        if (at == sizeof client->stamp - 1 && now() > half) {
            double written;

            memcpy(&written, client->stamp, sizeof written);
            add_trip(now() - written);
        }
    }
    client->acknowledged += count;
}

static void when_received(struct client *client, const uint8_t *bytes, size_t count)
{
    switch (scenario) {
    case AGE:
        read_clock(client, bytes, count);
        units += count;
        return;
    case DOWN:
        units += count;
        return;
    case UP:
        units += count * UNIT;
        client->acknowledged += count * UNIT;
        client_watch(client, true);
        return;
    default:
        client->awaited -= count < client->awaited ? count : client->awaited;
        if (client->awaited > 0)
            return;
    }
    if (scenario == IDLE) {
        ready();
        return;
    }
    units++;
    if (scenario == RETURN)
        return;
    add_trip(now() - client->since);
    if (scenario == CONNECT) {
        client_close(client);
        client_connect(client);
    } else if (scenario == ECHO && rate == 0) {
        client->since = now();
        send_message(client);
    }
}

static void when_writable(struct client *client)
{
    if (scenario == UP)
        send_run(client);
}

/* Clients take turns, at even distances. One that still waits for its last message misses its turn. */
static void send_paced(double begun)
{
    static uint64_t turn;

    for (; turn < (now() - begun) * rate * client_count; turn++) {
        struct client *client = &clients[turn % client_count];

        if (client->awaited == 0) {
            client->since = now();
            send_message(client);
        }
    }
}

/* Each reads as much as it should have by now. */
static void read_paced(double begun)
{
    for (size_t i = 0; i < client_count; i++)
        while (clients[i].acknowledged < (now() - begun) * rate && client_read(&clients[i]))
            ;
}

static void make_messages(void)
{
    static uint8_t payload[SIZE_LIMIT];
    size_t count = scenario == UP && size < RUN ? RUN / size : 1;

    memset(payload, 'x', size);
    message = malloc(count * (size + HEADER_MAX));
    if (message == NULL)
        abort();
    payload_size = count * size;
    while (count-- > 0)
        message_size += make_message(message + message_size, payload, size);
}

static void open_all(void)
{
    double limit = now() + OPENING_LIMIT;

    clients = calloc(client_count, sizeof *clients);
    if (clients == NULL)
        abort();
    while (started < client_count && (scenario == CONNECT || started < OPENING))
        client_connect(&clients[started++]);
    while (scenario != CONNECT && opened < client_count) {
        if (now() > limit) {
            fprintf(stderr, "load: only %zu of %zu clients could connect\n", opened, client_count);
            exit(1);
        }
        clients_turn(1000);
    }
    puts("open");
    fflush(stdout);
}

static void wait_for_end_of_input(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    while (poll(&input, 1, 0) == 0)
        clients_turn(100);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void report(double seconds)
{
    printf("{\"seconds\": %.6f, \"units\": %llu", seconds, (unsigned long long)units);
    if (trip_count > 0) {
        qsort(trips, trip_count, sizeof *trips, compare);
        printf(", \"p50\": %.6f, \"p99\": %.6f", trips[trip_count / 2], trips[(size_t)(trip_count * 0.99)]);
    }
    puts("}");
}

/* What those who return say of it to the interactive ones, who have a process, and a processor, of their own. */
struct outcome {
    double seconds;
    uint64_t in, refused;
};

static void when_lost(struct client *client)
{
    (void)client;
    refused++;
}

static double percentile(size_t from, double part)
{
    size_t count = trip_count - from;

    qsort(trips + from, count, sizeof *trips, compare);
    return count == 0 ? 0 : trips[from + (size_t)((count - 1) * part)];
}

/* Echo until the outcome is there; a byte before that says that the others are about to return. */
static void be_interactive(int others)
{
    struct outcome outcome;
    struct pollfd input = {.fd = others, .events = POLLIN};
    double begun, p50, p99;
    size_t mark = 0;
    char byte;

    scenario = ECHO;
    client_count = INTERACTIVE;
    make_messages();
    open_all();
    if (write(others, "", 1) != 1)
        exit(1);
    begun = now();
    for (size_t i = 0; i < client_count; i++)
        begin(&clients[i]);
    for (;;) {
        clients_turn(1);
        send_paced(begun);
        if (poll(&input, 1, 0) == 0)
            continue;
        if (mark > 0)
            break;
        if (read(others, &byte, 1) != 1)
            exit(1);
        mark = trip_count;
    }
    if (read(others, &outcome, sizeof outcome) != sizeof outcome)
        exit(1);
    p50 = percentile(mark, 0.5);
    p99 = percentile(mark, 0.99);
    printf("{\"seconds\": %.6f, \"units\": %llu, \"refused\": %llu, \"p50\": %.6f, \"p99\": %.6f, \"longest\": %.6f",
           outcome.seconds, (unsigned long long)outcome.in, (unsigned long long)outcome.refused, p50, p99,
           percentile(mark, 1));
    trip_count = mark;
    printf(", \"before\": %.6f}\n", percentile(0, 0.99));
    exit(0);
}

/* All at once, but for what a loop takes. */
static void return_all(int others, double seconds)
{
    struct outcome outcome;
    double begun;
    char byte;

    if (read(others, &byte, 1) != 1)
        exit(1);
    size = 1;
    make_messages();
    clients = calloc(client_count, sizeof *clients);
    if (clients == NULL)
        abort();
    usleep(seconds * 1e6);
    if (write(others, "", 1) != 1)
        exit(1);
    begun = now();
    while (started < client_count)
        client_connect(&clients[started++]);
    while (units + refused < client_count && now() < begun + OPENING_LIMIT)
        clients_turn(1000);
    outcome = (struct outcome){now() - begun, units, client_count - units};
    if (write(others, &outcome, sizeof outcome) != sizeof outcome)
        exit(1);
}

static int come_back(enum scheme scheme, int port, double seconds)
{
    static const struct owner owner = {when_opened, when_received, when_writable, NULL};
    static const struct owner lenient = {when_opened, when_received, when_writable, when_lost};
    int pair[2], status;
    pid_t interactive;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || (interactive = fork()) < 0) {
        perror("load");
        return 1;
    }
    clients_begin(scheme, port, interactive == 0 ? &owner : &lenient);
    close(pair[interactive == 0 ? 0 : 1]);
    if (interactive == 0)
        be_interactive(pair[1]);
    return_all(pair[0], seconds);
    return waitpid(interactive, &status, 0) < 0 || status != 0;
}

_Noreturn static void usage(void)
{
    fprintf(stderr, "load: see the top of load.c\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct owner owner = {when_opened, when_received, when_writable, NULL};
    enum scheme scheme;
    struct rlimit limit;
    double begun, seconds = 0;

    if (argc < 5)
        usage();
    scheme = !strcmp(argv[1], "wss") ? WSS : !strcmp(argv[1], "ws") ? WS : TCP;
    while (scenario < SCENARIOS && strcmp(argv[2], scenario_names[scenario]) != 0)
        scenario++;
    client_count = strtoul(argv[4], NULL, 10);
    if (scenario != IDLE && argc > 5)
        seconds = atof(argv[5]);
    if (scenario == AGE && argc > 6)
        rate = atof(argv[6]);
    else if (argc > 6)
        size = strtoul(argv[6], NULL, 10);
    if (argc > 7)
        rate = atof(argv[7]);
    if (scenario == SCENARIOS || client_count == 0 || size == 0 || size > SIZE_LIMIT)
        usage();

    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (scenario == RETURN)
        return come_back(scheme, atoi(argv[3]), seconds);
    clients_begin(scheme, atoi(argv[3]), &owner);
    if (scenario == AGE)
        clients_slow(SLOW_ROOM);
    make_messages();
    open_all();
    begun = now();
    half = begun + seconds / 2;
    if (scenario == IDLE) {
        wait_for_end_of_input();
        return 0;
    }
    for (size_t i = 0; i < client_count; i++)
        begin(&clients[i]);
    while (now() < begun + seconds) {
        clients_turn(rate > 0 ? 1 : 100);
        if (scenario == AGE)
            read_paced(begun);
        else if (rate > 0)
            send_paced(begun);
    }
    report(now() - begun);
    return 0;
}
