/* Waits, reaps what falls to it as PID 1, and ends at once on SIGTERM, SIGINT or SIGQUIT. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int number) { (void)number; _exit(0); }
static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }

int main(void) {
    signal(SIGTERM, end);
    signal(SIGINT, end);
    signal(SIGQUIT, end);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
