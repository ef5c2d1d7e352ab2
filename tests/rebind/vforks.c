/*
 * vforks PORT: a child of vfork binds PORT and leaves; another runs this program again, to bind and listen.
 *
 * Prints the port that each, and the parent of the first, saw.
 */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in address = {.sin_family = AF_INET};

static int name_of(int fd)
{
    struct sockaddr_in name = {0};
    socklen_t length = sizeof name;

    return getsockname(fd, (struct sockaddr *)&name, &length) == 0 ? ntohs(name.sin_port) : -1;
}

int main(int argc, char **argv)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    volatile int in_child = 0;

    address.sin_port = htons((uint16_t)atoi(argv[1]));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (argc > 2) {
        if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0)
            return 1;
        printf("program %d\n", name_of(fd));
        return 0;
    }
    if (vfork() == 0) {
        if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
            in_child = name_of(fd);
        _exit(0);
    }
    wait(NULL);
    printf("child %d\nparent %d\n", in_child, name_of(fd));
    close(fd);
    fflush(stdout);
    if (vfork() == 0) {
        execl(argv[0], argv[0], argv[1], "program", (char *)NULL);
        _exit(127);
    }
    wait(NULL);
    return 0;
}
