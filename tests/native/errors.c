/* What is refused, with which status and message, and that the instance works afterwards. */
#include <pthread.h>

#include "check.h"

static void expect(net_status found, net_status expected, const char *part)
{
    CHECK(found == expected);
    if (strstr(net_last_error(NULL), part) == NULL) {
        fprintf(stderr, "'%s' is not in: %s\n", part, net_last_error(NULL));
        exit(1);
    }
}

static void *see_no_error(void *unused)
{
    CHECK(net_last_error(NULL)[0] == '\0');
    return unused;
}

static void refuse_options(void)
{
    net_options options;
    net_status status = net_OK;

    memset(&options, 0, sizeof options);
    options.threads = -1;
    CHECK(net_create(&options, &status) == NULL);
    expect(status, net_INVALID, "-1 threads");
    options.threads = 1 << 30;
    CHECK(net_create(&options, NULL) == NULL);
    net_destroy(NULL);
    net_free(NULL);
}

static void refuse_inputs(net_model *model, float *images)
{
    net_tensor right = input_of(images, 2), wrong, output;

    memset(&output, 0, sizeof output);
    expect(net_run(NULL, &right, &output), net_INVALID, "NULL");
    expect(net_run(model, NULL, &output), net_INVALID, "NULL");
    expect(net_run(model, &right, NULL), net_INVALID, "NULL");
    wrong = right;
    wrong.type = net_FLOAT64;
    expect(net_run(model, &wrong, &output), net_INVALID, "float64[2, 1, 32, 32]");
    wrong.type = 99;
    expect(net_run(model, &wrong, &output), net_INVALID, "float32[batch, 1, 32, 32]");
    wrong = right;
    wrong.extents[2] = 31;
    expect(net_run(model, &wrong, &output), net_INVALID, "float32[2, 1, 31, 32]");
    expect(net_describe(model, &wrong, &output), net_INVALID, "float32[2, 1, 31, 32]");
    wrong = right;
    wrong.rank = 3;
    expect(net_run(model, &wrong, &output), net_INVALID, "float32[2, 1, 32]");
    wrong.rank = -1;
    expect(net_run(model, &wrong, &output), net_INVALID, "rank -1");
    wrong.rank = 1000;
    expect(net_run(model, &wrong, &output), net_INVALID, "rank 1000");
    wrong = right;
    wrong.extents[0] = -1;
    expect(net_run(model, &wrong, &output), net_INVALID, "[-1, ");
    wrong.extents[0] = INT64_MAX;
    expect(net_run(model, &wrong, &output), net_INVALID, "batch");
    wrong.extents[0] = (int64_t)1 << 31;
    CHECK(net_run(model, &wrong, &output) != net_OK);
    wrong = right;
    wrong.bytes -= 1;
    expect(net_run(model, &wrong, &output), net_INVALID, "takes 8192 bytes of data; there are 8191");
    wrong = right;
    wrong.data = NULL;
    expect(net_run(model, &wrong, &output), net_INVALID, "there are 0");
    wrong = right;
    wrong.data = (char *)wrong.data + 1;
    expect(net_run(model, &wrong, &output), net_INVALID, "not aligned");
    CHECK(output.data == NULL);
}

static void use_own_memory(net_model *model, float *images)
{
    net_tensor input = input_of(images, 2), output;
    float room[2 * CLASSES + 1];

    memset(room, 0, sizeof room);
    room[2 * CLASSES] = 7;
    CHECK(net_describe(model, &input, &output) == net_OK);
    CHECK(output.bytes == 2 * CLASSES * sizeof(float) && output.data == NULL);
    CHECK(output.rank == 2 && output.extents[0] == 2 && output.extents[1] == CLASSES);
    output.data = room;
    output.bytes--;
    expect(net_run(model, &input, &output), net_INVALID, "takes 80 bytes; there is room for 79");
    output.bytes = sizeof room;
    output.data = (char *)room + 1;
    expect(net_run(model, &input, &output), net_INVALID, "not aligned");
    output.data = room;
    CHECK(net_run(model, &input, &output) == net_OK);
    CHECK(output.data == room && output.bytes == 80 && room[2 * CLASSES] == 7);
    run_and_compare(model, images, 2, room, 0);
}

static void run_nothing(net_model *model)
{
    net_tensor input = input_of(NULL, 0), output;

    memset(&output, 0, sizeof output);
    CHECK(net_run(model, &input, &output) == net_OK);
    CHECK(output.bytes == 0 && output.extents[0] == 0 && output.data != NULL);
    net_free(output.data);
}

int main(void)
{
    net_model *model = new_model(0);
    float *images = make_images(2);
    pthread_t other;

    CHECK(net_last_error(model)[0] == '\0' && net_threads(model) >= 1);
    CHECK(net_interface_version() == net_INTERFACE_VERSION);
    CHECK(net_input_count() == 1 && net_input(1) == NULL && net_input(-1) == NULL);
    CHECK(net_output_count() == 1 && net_output(1) == NULL && net_output(-1) == NULL);
    CHECK(net_input(0)->rank == 4 && net_input(0)->extents[0] == -1);
    CHECK(strcmp(net_input(0)->extent_texts[0], "batch") == 0 && !net_output(0)->is_late);
    CHECK(net_element_bytes(net_FLOAT64) == 8 && net_element_bytes(99) == 0);
    refuse_options();
    refuse_inputs(model, images);
    use_own_memory(model, images);
    run_nothing(model);
    CHECK(pthread_create(&other, NULL, see_no_error, NULL) == 0);
    CHECK(pthread_join(other, NULL) == 0);
    free(images);
    net_destroy(model);
    puts("refused");
    return 0;
}
