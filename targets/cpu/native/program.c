/* The main program of a model that was compiled to an executable. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "archive.h"
#include "arguments.h"
#include "inputs.h"
#include "numpy_file.h"
#include "runtime.h"

enum { WARM_UP_RUNS = 4, FEWEST_RUNS = 5, MOST_RUNS = 1 << 20 };

static const struct ow_description *const about = &ow_description;

static void show_help(void)
{
    printf("Usage: %s [INPUT.npy ...] [-o OUT] [options]\n"
           "Runs the compiled model %s once.\n\n"
           "Inputs, in order: .npy files, or one .npz file with them by name, or standard input\n"
           "(also as -). The output goes to standard output as .npy, several as .npz.\n\n"
           "  -o, --output OUT      write to a file: OUT.npz, or .npy for a single output\n"
           "  --raw                 inputs and outputs are the plain bytes of their elements\n"
           "  --shape NAME=1,3,224  shape of an input that is raw or random\n"
           "  --dim SYMBOL=SIZE     size of a symbolic extent of such inputs\n"
           "  --threads N           threads of a run (default: all processors)\n"
           "  --bench               measure on these inputs, or on random ones\n"
           "  --seconds S           how long to measure (3)\n"
           "  --info                show inputs and outputs\n"
           "  --version             show what compiled this, and for which processor\n"
           "  -h, --help            show this\n\n"
           "Exit status: 0 done, 2 wrong usage, 3 an input does not fit, 5 too little memory,\n"
           "6 a file cannot be read or written, 7 the processor lacks what the code needs, 70 a "
           "defect.\n",
           about->name, about->name);
}

static void show_tensors(const char *title, const struct ow_tensor *tensors, int32_t count)
{
    char shape[512];
    int32_t number;

    for (number = 0; number < count; number++) {
        ow_show_shape(shape, sizeof shape, tensors[number].type, tensors[number].rank,
                      tensors[number].extents, tensors[number].extent_texts);
        printf("%-8s %s %s\n", title, tensors[number].name, shape);
    }
}

static void show_information(void)
{
    printf("model    %s\nmade by  %s\nfor      %s\n", about->name, about->producer, about->target);
    show_tensors("input", about->inputs, about->input_count);
    show_tensors("output", about->outputs, about->output_count);
    printf("weights  %lld bytes%s%s\n", (long long)about->weight_bytes,
           about->weights_file != NULL ? " in " : "",
           about->weights_file != NULL ? about->weights_file : "");
}

/* --- outputs ---------------------------------------------------------------------------------- */

static int ends_in(const char *text, const char *suffix)
{
    size_t length = strlen(text), rest = strlen(suffix);

    return length >= rest && strcmp(text + length - rest, suffix) == 0;
}

static int write_outputs(FILE *file, const struct ow_value *outputs, int is_raw, int is_archive)
{
    char header[OW_NPY_HEADER_ROOM];
    const char **names;
    int32_t number;
    int status = 0;
    uint64_t length;

    if (is_archive && !is_raw) {
        names = calloc((size_t)about->output_count + 1, sizeof *names);
        if (names == NULL)
            return -1;
        for (number = 0; number < about->output_count; number++)
            names[number] = about->outputs[number].name;
        status = ow_write_archive(file, outputs, names, about->output_count);
        free(names);
    }
    for (number = 0; (is_raw || !is_archive) && number < about->output_count && status == 0;
         number++) {
        length = is_raw ? 0 : ow_npy_header(header, &outputs[number]);
        if (fwrite(header, 1, (size_t)length, file) != length ||
            fwrite(outputs[number].data, 1, (size_t)outputs[number].bytes, file) !=
                outputs[number].bytes)
            status = -1;
    }
    return fflush(file) != 0 ? -1 : status;
}

/* A file of a new name, with the permissions that any new file gets. */
static int new_file(char *pattern)
{
    int descriptor = mkostemp(pattern, O_CLOEXEC);
    mode_t mask;

    if (descriptor >= 0) {
        mask = umask(0);
        (void)umask(mask);
        (void)fchmod(descriptor, 0666 & ~mask);
    }
    return descriptor;
}

static int32_t to_file(const char *path, const struct ow_value *outputs, int is_raw, int is_archive,
                       struct ow_message *message)
{
    struct stat status;
    FILE *file = NULL;
    char *temporary = NULL, *followed = realpath(path, NULL);   /* links stay what they are */
    const char *place = followed == NULL ? path : followed;
    int descriptor, is_special = stat(path, &status) == 0 && !S_ISREG(status.st_mode), failed = -1;

    /* Beside the file, so that it appears whole or not at all; devices are written themselves. */
    if (!is_special && asprintf(&temporary, "%s.XXXXXX", place) < 0) {
        ow_say(message, "there is no memory");
        free(followed);
        return OW_LIMIT;
    }
    descriptor = is_special ? open(path, O_WRONLY | O_CLOEXEC) : new_file(temporary);
    if (descriptor >= 0 && (file = fdopen(descriptor, "wb")) == NULL)
        close(descriptor);
    if (file != NULL) {
        failed = write_outputs(file, outputs, is_raw, is_archive);
        if (failed == 0 && !is_special && fsync(descriptor) != 0)
            failed = -1;
        if (fclose(file) != 0)
            failed = -1;
        if (failed == 0 && !is_special && rename(temporary, place) != 0)
            failed = -1;
    }
    if (failed != 0) {
        ow_say(message, "%s cannot be written: %s", path, strerror(errno));
        if (!is_special && descriptor >= 0)
            unlink(temporary);
    }
    free(temporary);
    free(followed);
    return failed == 0 ? OW_OK : OW_FILES;
}

static int32_t write_results(const struct ow_arguments *arguments, const struct ow_value *outputs,
                             struct ow_message *message)
{
    int is_archive = about->output_count != 1;

    if (arguments->output != NULL) {
        is_archive |= ends_in(arguments->output, ".npz");
        return to_file(arguments->output, outputs, arguments->is_raw, is_archive, message);
    }
    if (write_outputs(stdout, outputs, arguments->is_raw, is_archive) == 0)
        return OW_OK;
    ow_say(message, "standard output cannot be written: %s", strerror(errno));
    return OW_FILES;
}

/* Before anything is computed. */
static int32_t check_output(const struct ow_arguments *arguments, struct ow_message *message)
{
    if (arguments->output == NULL) {
        if (!isatty(STDOUT_FILENO))
            return OW_OK;
        ow_say(message, "the output is binary and standard output a terminal: give -o OUT.npy");
        return OW_USAGE;
    }
    if (arguments->is_raw || about->output_count == 1 || !ends_in(arguments->output, ".npy"))
        return OW_OK;
    ow_say(message, "%s has %d outputs, which do not fit a .npy file; use .npz", about->name,
           (int)about->output_count);
    return OW_USAGE;
}

/* --- actions ---------------------------------------------------------------------------------- */

/* They are computed with like others, but are seldom meant. */
static void tell_of_not_numbers(const struct ow_value *inputs)
{
    uint64_t count;
    int32_t number;

    for (number = 0; number < about->input_count; number++) {
        count = ow_count_not_numbers(&inputs[number]);
        if (count > 0)
            fprintf(stderr, "%s: note: input '%s' has %llu elements that are not a number (NaN)\n",
                    about->name, about->inputs[number].name, (unsigned long long)count);
    }
}

static int32_t run(const struct ow_arguments *arguments, struct ow_model *model,
                   const struct ow_value *inputs, struct ow_value *outputs,
                   struct ow_message *message)
{
    int32_t status = ow_infer(model, inputs, outputs, message);

    if (status == OW_OK) {
        tell_of_not_numbers(inputs);
        status = write_results(arguments, outputs, message);
        ow_free_values(outputs, about->output_count);
    }
    return status;
}

static double now(void)
{
    struct timespec moment;

    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (double)moment.tv_sec + (double)moment.tv_nsec * 1e-9;
}

static int compare(const void *left, const void *right)
{
    double one = *(const double *)left, other = *(const double *)right;

    return (one > other) - (one < other);
}

static void show_times(const struct ow_model *model, double *times, int count, double first,
                       double total)
{
    qsort(times, (size_t)count, sizeof *times, compare);
    printf("model       %s\nthreads     %d\nfirst       %.3f ms\nruns        %d\n", about->name,
           (int)ow_thread_count(model), first * 1e3, count);
    printf("min         %.4f ms\nmedian      %.4f ms\np99         %.4f ms\nthroughput  %.2f "
           "inferences/s\n",
           times[0] * 1e3, times[count / 2] * 1e3, times[(int)((double)(count - 1) * 0.99)] * 1e3,
           count / total);
}

static int32_t bench(const struct ow_arguments *arguments, struct ow_model *model,
                     const struct ow_value *inputs, struct ow_value *outputs,
                     struct ow_message *message)
{
    double *times = malloc(MOST_RUNS * sizeof *times), start, begun = now(), first = 0;
    int32_t status = times == NULL ? OW_LIMIT : OW_OK;
    int count = 0;

    if (times == NULL)
        ow_say(message, "there is no memory");
    while (status == OW_OK && count < WARM_UP_RUNS) {
        status = ow_infer(model, inputs, outputs, message); /* into the same memory each time */
        if (count++ == 0)
            first = now() - begun;
    }
    ow_settle(model);
    count = 0;
    begun = now();
    while (status == OW_OK && count < MOST_RUNS &&
           (count < FEWEST_RUNS || now() - begun < arguments->seconds)) {
        start = now();
        status = ow_infer(model, inputs, outputs, message);
        times[count++] = now() - start;
    }
    if (status == OW_OK)
        show_times(model, times, count, first, now() - begun);
    ow_free_values(outputs, about->output_count);
    free(times);
    return status;
}

static int32_t compute(const struct ow_arguments *arguments, struct ow_message *message)
{
    struct ow_options options = {0, 0, NULL};
    struct ow_value *inputs = calloc((size_t)about->input_count + 1, sizeof *inputs);
    struct ow_value *outputs = calloc((size_t)about->output_count + 1, sizeof *outputs);
    struct ow_model *model = NULL;
    int is_bench = arguments->action == OW_BENCH;
    int32_t status = inputs == NULL || outputs == NULL ? OW_LIMIT : OW_OK;

    options.threads = arguments->threads;
    if (status == OW_OK)
        status = ow_check_sizes(arguments, message);
    if (status == OW_OK && !is_bench)
        status = check_output(arguments, message);
    if (status == OW_OK)
        status = is_bench && arguments->file_count == 0
                     ? ow_make_inputs(arguments, inputs, message)
                     : ow_read_inputs(arguments, inputs, message);
    if (status == OW_OK) {
        model = ow_create(&options, &status, message);
        if (model != NULL)
            status = is_bench ? bench(arguments, model, inputs, outputs, message)
                              : run(arguments, model, inputs, outputs, message);
        ow_destroy(model);
        ow_free_values(inputs, about->input_count);
    }
    free(inputs);
    free(outputs);
    return status;
}

/* Files that are opened must not become a standard stream that was closed; using such a stream
 * stays an error. */
static void keep_streams_closed(void)
{
    int stream;

    for (stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++)
        if (fcntl(stream, F_GETFD) < 0 &&
            open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
}

int main(int argc, char **argv)
{
    struct ow_message message = {""};
    struct ow_arguments arguments;
    int32_t status;

    /* A reader that has gone is an error like a full disk, with a message. */
    (void)signal(SIGPIPE, SIG_IGN);
    keep_streams_closed();
    status = ow_read_arguments(&arguments, argc, argv, &message);
    if (status == OW_OK) {
        if (arguments.action == OW_HELP)
            show_help();
        else if (arguments.action == OW_VERSION)
            printf("%s: %s\n", about->name, about->information);
        else if (arguments.action == OW_INFORM)
            show_information();
        else
            status = compute(&arguments, &message);
    }
    ow_free_arguments(&arguments);
    if (fflush(stdout) != 0 && status == OW_OK) {
        ow_say(&message, "standard output cannot be written: %s", strerror(errno));
        status = OW_FILES;
    }
    if (status != OW_OK)
        fprintf(stderr, "%s: %s\n", about->name, message.text);
    return status;
}
