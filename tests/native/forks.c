/* Children of a process that runs an instance all the time go on with it, and with worker threads
 * of their own. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { CHILDREN = 20 };

static net_model *model;
static float *images, expected[LARGEST_BATCH * CLASSES];
static atomic_int is_over;

static void *keep_running(void *unused)
{
    while (!atomic_load(&is_over))
        run_and_compare(model, images, LARGEST_BATCH, expected, 0);
    return unused;
}

int main(void)
{
    pthread_t threads[2];
    int number, status, run;
    pid_t child;

    alarm(60); /* a child that waits for ever fails the test */
    model = new_model(2);
    images = make_images(LARGEST_BATCH);
    run_and_compare(model, images, LARGEST_BATCH, expected, 1);
    for (number = 0; number < 2; number++)
        CHECK(pthread_create(&threads[number], NULL, keep_running, NULL) == 0);
    for (number = 0; number < CHILDREN; number++) {
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(60);
            for (run = 0; run < 5; run++)
                run_and_compare(model, images, LARGEST_BATCH, expected, 0);
            net_destroy(model);
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    atomic_store(&is_over, 1);
    for (number = 0; number < 2; number++)
        CHECK(pthread_join(threads[number], NULL) == 0);
    net_destroy(model);
    free(images);
    puts("the children computed the same bits");
    return 0;
}
