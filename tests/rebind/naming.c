/*
 * naming PORT: binds PORT in every way that rebind moves, and prints all that a program can see of it.
 *
 * The output with rebind is to be that without; where a socket really is, only the system call itself can
 * tell.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 1100 }; /* more than rebind remembers */

static in_port_t port;

static void show(const char *what, int fd)
{
    for (socklen_t room = 1; room <= sizeof(struct sockaddr_in6) + 1; room++) {
        unsigned char *name = malloc(room); /* on the heap, where a sanitizer sees one byte too many */
        socklen_t length = room;
        int result;

        errno = ENOTEMPTY;
        result = getsockname(fd, (struct sockaddr *)name, &length);
        printf("%s %d %d %u:", what, result, errno, length);
        for (socklen_t i = 0; i < room && i < length; i++)
            printf(" %02x", name[i]);
        printf("\n");
        free(name);
    }
}

static int bound(const char *text, int v6only, socklen_t length)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = port, .sin6_flowinfo = htonl(5), .sin6_scope_id = 1};
    int family = inet_pton(AF_INET, text, &v4.sin_addr) == 1 ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_STREAM, 0), on = 1, result;
    void *address = malloc(length);

    memset(v4.sin_zero, 7, sizeof v4.sin_zero);
    inet_pton(AF_INET6, text, &v6.sin6_addr);
    memcpy(address, family == AF_INET ? (void *)&v4 : &v6, length);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
    errno = ENOTEMPTY;
    result = bind(fd, address, length);
    if (result != 0 || errno != ENOTEMPTY)
        printf("bind %s: %d %d\n", text, result, errno);
    errno = ENOTEMPTY;
    result = listen(fd, 5);
    if (result != 0 || errno != ENOTEMPTY)
        printf("listen %s: %d %d\n", text, result, errno);
    free(address);
    return fd;
}

/* The socket's own name, that of its copies, and that of a connection to it. */
static void look(const char *text, int v6only, socklen_t length)
{
    int listener = bound(text, v6only, length), copy = dup(listener), accepted, client;
    struct sockaddr_storage real;
    socklen_t real_length = sizeof real;

    printf("%s v6only %d length %u\n", text, v6only, length);
    show("listener", listener);
    syscall(SYS_getsockname, listener, &real, &real_length);
    client = socket(real.ss_family, SOCK_STREAM, 0);
    if (connect(client, (struct sockaddr *)&real, real_length) != 0)
        perror("connect");
    accepted = accept(listener, NULL, NULL);
    show("accepted", accepted);
    close(client);
    close(listener);
    show("copy", copy);
    fflush(stdout);
    if (fork() == 0) {
        show("child", copy);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    close(accepted);
    close(copy);
}

int main(int argc, char **argv)
{
    int fd;

    port = htons((uint16_t)atoi(argv[argc - 1]));
    look("0.0.0.0", 0, sizeof(struct sockaddr_in));
    look("127.0.0.1", 0, sizeof(struct sockaddr_in));
    look("::", 0, sizeof(struct sockaddr_in6));
    look("::", 1, sizeof(struct sockaddr_in6));
    look("::1", 1, sizeof(struct sockaddr_in6));
    look("::1", 1, 24);
    look("::ffff:0.0.0.0", 0, sizeof(struct sockaddr_in6));
    look("::ffff:127.0.0.1", 0, sizeof(struct sockaddr_in6));
    for (int i = 0; i < ROUNDS; i++)
        close(bound("127.0.0.1", 0, sizeof(struct sockaddr_in)));
    fd = bound("0.0.0.0", 0, sizeof(struct sockaddr_in));
    show("last", fd);
    close(fd);
    return 0;
}
