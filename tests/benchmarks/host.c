/* A program that uses the library of "model": host RUNS prints the milliseconds of making an
 * instance and of the median of RUNS runs, after one and as many more that are not timed: weights
 * move to large pages meanwhile. With 0 there is one run in all. Inputs
 * are ones, or zeros where they are not float32. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "model.h"

static double now(void)
{
    struct timespec moment;

    timespec_get(&moment, TIME_UTC);
    return 1e3 * (double)moment.tv_sec + 1e-6 * (double)moment.tv_nsec;
}

static int compare(const void *left, const void *right)
{
    double one = *(const double *)left, other = *(const double *)right;

    return (one > other) - (one < other);
}

static int fill(model_tensor *tensor, const model_descriptor *declared)
{
    uint64_t count = 1, place;
    int32_t axis;

    tensor->type = declared->type;
    tensor->rank = declared->rank;
    for (axis = 0; axis < declared->rank; axis++) {
        tensor->extents[axis] = declared->extents[axis] < 0 ? 1 : declared->extents[axis];
        count *= (uint64_t)tensor->extents[axis];
    }
    tensor->bytes = count * model_element_bytes(declared->type);
    tensor->data = calloc(1, tensor->bytes + 1);
    if (tensor->data != NULL && declared->type == model_FLOAT32)
        for (place = 0; place < count; place++)
            ((float *)tensor->data)[place] = 1.0f;
    return tensor->data != NULL;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 0, run;
    model_options options = {1, 0, NULL};
    model_tensor *inputs = calloc((size_t)model_input_count() + 1, sizeof *inputs);
    model_tensor *outputs = calloc((size_t)model_output_count() + 1, sizeof *outputs);
    double *times = malloc(((size_t)count + 1) * sizeof *times), begun = now(), loaded;
    model_model *model = model_create(&options, NULL);
    int32_t number;

    loaded = now() - begun;
    if (model == NULL || inputs == NULL || outputs == NULL || times == NULL)
        return 1;
    for (number = 0; number < model_input_count(); number++)
        if (!fill(&inputs[number], model_input(number)))
            return 1;
    for (run = -count; run <= count; run++) { /* the outputs stay where the first run put them */
        begun = now();
        if (model_run(model, inputs, outputs) != model_OK) {
            fprintf(stderr, "%s\n", model_last_error(model));
            return 1;
        }
        times[run < 0 ? 0 : run] = now() - begun;
    }
    qsort(times + 1, (size_t)count, sizeof *times, compare);
    printf("[%.3f, %.3f]\n", loaded, times[count == 0 ? 0 : 1 + count / 2]);
    for (number = 0; number < model_input_count(); number++)
        free(inputs[number].data);
    for (number = 0; number < model_output_count(); number++)
        model_free(outputs[number].data);
    model_destroy(model);
    free(inputs);
    free(outputs);
    free(times);
    return 0;
}
