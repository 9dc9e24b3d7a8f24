/* lookup NAME [4|6]: prints each address the C library's resolver gives, one a line; exit 1 with its message if none. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list, *one;
    char text[INET6_ADDRSTRLEN];
    int failed;
    if (argc < 2) { fprintf(stderr, "usage: lookup NAME [4|6]\n"); return 2; }
    if (argc > 2) hints.ai_family = argv[2][0] == '6' ? AF_INET6 : AF_INET;
    failed = getaddrinfo(argv[1], 0, &hints, &list);
    if (failed) { fprintf(stderr, "lookup: %s: %s\n", argv[1], gai_strerror(failed)); return 1; }
    for (one = list; one; one = one->ai_next) {
        void *address = one->ai_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr
                                                   : (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr;
        puts(inet_ntop(one->ai_family, address, text, sizeof text));
    }
    return 0;
}
