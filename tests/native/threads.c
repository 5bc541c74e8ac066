/* Eight threads run one instance at the same time, and make instances of their own: all compute
 * the same bits. The argument says how often. */
#include <pthread.h>

#include "check.h"

enum { CALLERS = 8 };

struct caller {
    pthread_t thread;
    net_model *shared;
    float *images;
    float (*expected)[LARGEST_BATCH * CLASSES];
    int number, runs;
};

static void *call(void *argument)
{
    const struct caller *self = argument;
    net_model *own = new_model(1 + self->number % 2);
    int run, batch;

    for (run = 0; run < self->runs; run++) {
        batch = 1 + (self->number + run) % LARGEST_BATCH;
        run_and_compare(self->shared, self->images, batch, self->expected[batch - 1], 0);
        run_and_compare(own, self->images, batch, self->expected[batch - 1], 0);
    }
    net_destroy(own);
    return NULL;
}

int main(int argc, char **argv)
{
    static float expected[LARGEST_BATCH][LARGEST_BATCH * CLASSES];
    struct caller callers[CALLERS];
    net_model *shared = new_model(2), *alone = new_model(1);
    float *images = make_images(LARGEST_BATCH);
    int number;

    CHECK(argc == 2 && net_threads(shared) == 2 && net_threads(alone) == 1);
    for (number = 1; number <= LARGEST_BATCH; number++)
        run_and_compare(alone, images, number, expected[number - 1], 1);
    for (number = 0; number < CALLERS; number++) {
        callers[number] = (struct caller){.shared = shared, .images = images, .expected = expected,
                                          .number = number, .runs = atoi(argv[1])};
        CHECK(pthread_create(&callers[number].thread, NULL, call, &callers[number]) == 0);
    }
    for (number = 0; number < CALLERS; number++)
        CHECK(pthread_join(callers[number].thread, NULL) == 0);
    free(images);
    net_destroy(shared);
    net_destroy(alone);
    puts("the same bits");
    return 0;
}
