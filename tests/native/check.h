/* What the test programs share: an instance of "net" (a LeNet: float32[batch, 1, 32, 32] to
 * float32[batch, 10]), its inputs, and a check that ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,               \
                    net_last_error(NULL));                                                   \
            exit(1);                                                                         \
        }                                                                                    \
    } while (0)

enum { PIXELS = 32 * 32, CLASSES = 10, LARGEST_BATCH = 4 };

/* batch images that differ from each other; to be freed. */
static inline float *make_images(int batch)
{
    float *images = (float *)malloc(sizeof(float) * PIXELS * (size_t)batch);
    uint32_t state = 1;
    int place;

    CHECK(images != NULL);
    for (place = 0; place < PIXELS * batch; place++) {
        state = state * 1664525u + 1013904223u;
        images[place] = (float)(state >> 8) / (float)(1 << 24);
    }
    return images;
}

static inline net_tensor input_of(float *images, int batch)
{
    net_tensor input;

    memset(&input, 0, sizeof input);
    input.data = images;
    input.bytes = sizeof(float) * PIXELS * (uint64_t)batch;
    input.type = net_FLOAT32;
    input.rank = 4;
    input.extents[0] = batch;
    input.extents[1] = 1;
    input.extents[2] = input.extents[3] = 32;
    return input;
}

static inline net_model *new_model(int threads)
{
    net_options options;
    net_model *model;

    memset(&options, 0, sizeof options);
    options.threads = threads;
    model = net_create(&options, NULL);
    CHECK(model != NULL);
    return model;
}

/* Runs the model and compares with the expected bits, or writes them if there are none yet. */
static inline void run_and_compare(net_model *model, float *images, int batch, float *expected,
                                   int is_first)
{
    net_tensor input = input_of(images, batch), output;
    size_t bytes = sizeof(float) * CLASSES * (size_t)batch;

    memset(&output, 0, sizeof output);
    CHECK(net_run(model, &input, &output) == net_OK);
    CHECK(output.type == net_FLOAT32 && output.rank == 2 && output.bytes == bytes);
    CHECK(output.extents[0] == batch && output.extents[1] == CLASSES);
    if (is_first)
        memcpy(expected, output.data, bytes);
    CHECK(memcmp(output.data, expected, bytes) == 0);
    net_free(output.data);
}

#endif
