/*
 * passing PORT: binds that are no business of rebind's, and calls that fail, where PORT is the port to move.
 *
 * One line for each with its result and errno: the output with rebind is to be that without.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void show(const char *what, int fd, const void *address, socklen_t length)
{
    struct sockaddr *exact = NULL;
    int result;

    if (address != NULL) { /* on the heap, where a sanitizer sees one byte too many */
        size_t size = length < sizeof(struct sockaddr_in6) ? length : sizeof(struct sockaddr_in6);

        exact = malloc(size);
        memcpy(exact, address, size);
    }
    errno = ENOTEMPTY;
    result = bind(fd, exact, length);
    printf("%s %d %d\n", what, result, errno);
    free(exact);
    if (fd > 2)
        close(fd);
}

static void show_name(const char *what, int fd, void *name, socklen_t *length)
{
    int result;

    errno = ENOTEMPTY;
    result = getsockname(fd, name, length);
    printf("%s %d %d\n", what, result, errno);
}

static int reusable(int family, int type)
{
    int fd = socket(family, type, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return fd;
}

int main(int argc, char **argv)
{
    in_port_t port = htons((uint16_t)atoi(argv[argc - 1]));
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in v4_any_port = {.sin_family = AF_INET};
    struct sockaddr_in unspecified = {.sin_family = AF_UNSPEC, .sin_port = port, .sin_addr = {1}};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
    struct sockaddr_in6 v6_any_port = {.sin6_family = AF_INET6};
    struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = ""};
    socklen_t room = sizeof v4, none = 0, negative = (socklen_t)-1;
    int moved = reusable(AF_INET, SOCK_STREAM);

    show("null", reusable(AF_INET, SOCK_STREAM), NULL, 0);
    show("null with a length", reusable(AF_INET, SOCK_STREAM), NULL, sizeof v4);
    for (socklen_t length = 0; length < sizeof v4; length++)
        show("short v4", reusable(AF_INET, SOCK_STREAM), &v4, length);
    for (socklen_t length = 0; length < 24; length++)
        show("short v6", reusable(AF_INET6, SOCK_STREAM), &v6, length);
    show("long v6", reusable(AF_INET6, SOCK_STREAM), &v6, sizeof(struct sockaddr_storage) + 1);
    show("negative v6", reusable(AF_INET6, SOCK_STREAM), &v6, (socklen_t)-1);
    show("no descriptor", -1, &v4, sizeof v4);
    show("a file", open("/dev/null", O_RDONLY), &v4, sizeof v4);
    show("v4 on v6", reusable(AF_INET6, SOCK_STREAM), &v4, sizeof v4);
    show("v6 on v4", reusable(AF_INET, SOCK_STREAM), &v6, sizeof v6);
    show("unspecified", reusable(AF_INET, SOCK_STREAM), &unspecified, sizeof unspecified);
    show("v4 any port", reusable(AF_INET, SOCK_STREAM), &v4_any_port, sizeof v4_any_port);
    show("v6 any port", reusable(AF_INET6, SOCK_STREAM), &v6_any_port, sizeof v6_any_port);
    show("v4 datagrams", reusable(AF_INET, SOCK_DGRAM), &v4, sizeof v4);
    show("v6 datagrams", reusable(AF_INET6, SOCK_DGRAM), &v6, sizeof v6);
    show("unix", reusable(AF_UNIX, SOCK_STREAM), &local, sizeof local.sun_family);
    bind(moved, (struct sockaddr *)&v4, sizeof v4);
    show_name("no name", moved, NULL, &room);
    show_name("no name, no room", moved, NULL, &none);
    show_name("no length", moved, &v4, NULL);
    show_name("negative length", moved, &v4, &negative);
    show_name("a file's name", 0, &v4, &room);
    close(moved);
    show_name("closed", moved, &v4, &room);
    errno = ENOTEMPTY;
    printf("listen, closed %d %d\n", listen(moved, 1), errno);
    return 0;
}
