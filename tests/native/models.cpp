// Two libraries of different models in one C++ program, run by eight threads. "late" gives the
// places of the elements of x that are not zero, with room for all, and their number, as often as
// count says: an output whose size only a run knows.
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "late.h"

namespace {

struct Destroy {
    void operator()(net_model *model) const { net_destroy(model); }
    void operator()(late_model *model) const { late_destroy(model); }
};

void find_places(late_model *model, std::int64_t rows)
{
    std::vector<float> x(static_cast<std::size_t>(3 * rows));
    std::int64_t count = rows + 1;

    for (std::size_t place = 0; place < x.size(); place += 2)
        x[place] = 1;
    late_tensor inputs[2] = {}, outputs[2] = {};
    inputs[0] = {x.data(), x.size() * sizeof(float), late_FLOAT32, 2, {rows, 3}};
    inputs[1] = {&count, sizeof count, late_INT64, 1, {1}};
    CHECK(late_run(model, inputs, outputs) == late_OK);
    const auto found = static_cast<std::int64_t>((x.size() + 1) / 2);
    CHECK(outputs[0].rank == 2 && outputs[0].extents[0] == 2 && outputs[0].extents[1] == 3 * rows);
    CHECK(outputs[1].extents[0] == count && outputs[1].extents[1] == 1);
    const auto *places = static_cast<const std::int64_t *>(outputs[0].data);
    for (std::int64_t number = 0; number < found; number++)
        CHECK(places[number] * 3 + places[3 * rows + number] == 2 * number);
    const auto *numbers = static_cast<const std::int64_t *>(outputs[1].data);
    for (std::int64_t number = 0; number < count; number++)
        CHECK(numbers[number] == found);
    late_free(outputs[0].data);
    late_free(outputs[1].data);
}

void refuse_late(late_model *model)
{
    std::vector<float> x(6, 1.0F);
    std::vector<std::int64_t> room(11);
    std::int64_t count = -1;
    late_tensor inputs[2] = {}, outputs[2] = {};

    inputs[0] = {x.data(), 24, late_FLOAT32, 2, {2, 3}};
    inputs[1] = {&count, sizeof count, late_INT64, 1, {1}};
    CHECK(late_describe(model, inputs, outputs) == late_OK);
    CHECK(outputs[0].extents[1] == 6 && outputs[0].bytes == 96 && late_output(0)->is_late == 0);
    CHECK(outputs[1].extents[0] == -1 && outputs[1].bytes == 0 && late_output(1)->is_late == 1);
    CHECK(outputs[0].data == nullptr && outputs[1].data == nullptr);
    CHECK(late_run(model, inputs, outputs) != late_OK); // an extent of -1
    CHECK(outputs[0].data == nullptr && outputs[1].data == nullptr);
    count = 4;
    outputs[1].data = room.data();
    outputs[1].bytes = 3 * sizeof room[0]; // one too few
    CHECK(late_run(model, inputs, outputs) == late_INVALID);
    CHECK(strstr(late_last_error(model), "takes 32 bytes; there is room for 24") != nullptr);
    CHECK(outputs[0].data == nullptr);
    outputs[1].bytes = 5 * sizeof room[0];
    room[4] = 7;
    CHECK(late_run(model, inputs, outputs) == late_OK);
    CHECK(outputs[1].data == room.data() && outputs[1].bytes == 32 && room[3] == 6 && room[4] == 7);
    late_free(outputs[0].data);
}

} // namespace

int main()
{
    const std::unique_ptr<net_model, Destroy> net(new_model(2));
    const std::unique_ptr<late_model, Destroy> late(late_create(nullptr, nullptr));
    std::vector<float> expected(LARGEST_BATCH * CLASSES);
    float *images = make_images(LARGEST_BATCH);
    std::vector<std::thread> threads;

    CHECK(late != nullptr);
    run_and_compare(net.get(), images, LARGEST_BATCH, expected.data(), 1);
    for (int number = 0; number < 8; number++)
        threads.emplace_back([&, number] {
            for (int run = 0; run < 4; run++) {
                find_places(late.get(), number * run);
                run_and_compare(net.get(), images, LARGEST_BATCH, expected.data(), 0);
            }
        });
    for (auto &thread : threads)
        thread.join();
    refuse_late(late.get());
    free(images);
    std::puts("both models");
}
