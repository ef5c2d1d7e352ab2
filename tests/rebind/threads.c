/*
 * threads PORT: eight threads bind PORT at once, again and again, while another forks children that bind it.
 *
 * Exit status 0 where every name was 127.0.0.1:PORT. They bind less often than rebind's memory is long.
 * Before that, a thread that is to be cancelled binds and listens, neither of which is a cancellation point.
 */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 100, CHILDREN = 5 };

static in_port_t port;

/* Whether binding, listening and the name were all right. */
static int bind_once(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in name = {0};
    socklen_t length = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM, 0), right;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    right = bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0
        && getsockname(fd, (struct sockaddr *)&name, &length) == 0 && name.sin_port == port
        && name.sin_addr.s_addr == address.sin_addr.s_addr;
    close(fd);
    return right;
}

static void *work(void *wrong)
{
    for (int i = 0; i < ROUNDS; i++)
        *(int *)wrong += !bind_once();
    return NULL;
}

static void *multiply(void *wrong)
{
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        pid_t child = fork();

        if (child == 0)
            _exit(!bind_once());
        waitpid(child, &status, 0);
        *(int *)wrong += status != 0;
    }
    return NULL;
}

static void *bind_cancelled(void *wrong)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    pthread_cancel(pthread_self());
    bind(fd, (struct sockaddr *)&address, sizeof address);
    listen(fd, 1);
    *(int *)wrong = 0;
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS + 1];
    int wrong[THREADS + 1] = {0}, all = 1;

    port = htons((uint16_t)atoi(argv[argc - 1]));
    pthread_create(&threads[0], NULL, bind_cancelled, &all);
    pthread_join(threads[0], NULL);
    for (int i = 0; i <= THREADS; i++)
        pthread_create(&threads[i], NULL, i < THREADS ? work : multiply, &wrong[i]);
    for (int i = 0; i <= THREADS; i++) {
        pthread_join(threads[i], NULL);
        all += wrong[i];
    }
    printf("%d wrong\n", all);
    return all != 0;
}
