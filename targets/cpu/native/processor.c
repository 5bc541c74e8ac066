/* cpuid and xgetbv: "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 1,
 * sections 14.3 and 15.2 to 15.4. Control groups: Linux, Documentation/admin-guide/cgroup-v2.rst. */
#define _GNU_SOURCE
#include "processor.h"

#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum { AVX_STATE = 0x6, AVX512_STATE = 0xe6, OSXSAVE_BIT = 27 };

/* The registers that the system saves when it switches threads. */
static uint64_t saved_state(void)
{
    uint32_t words[4] = {0, 0, 0, 0};
    uint32_t low, high;

    if (!__get_cpuid(1, &words[0], &words[1], &words[2], &words[3]) ||
        !(words[2] >> OSXSAVE_BIT & 1u))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int has_feature(const struct ow_feature *feature)
{
    uint32_t words[4] = {0, 0, 0, 0};
    uint64_t needed = 0;

    if (!__get_cpuid_count(feature->leaf, feature->subleaf, &words[0], &words[1], &words[2],
                           &words[3]))
        return 0;
    if (!(words[feature->word] >> feature->bit & 1u))
        return 0;
    if (strncmp(feature->name, "avx512", 6) == 0)
        needed = AVX512_STATE;
    else if (strncmp(feature->name, "avx", 3) == 0 || strcmp(feature->name, "fma") == 0 ||
             strcmp(feature->name, "f16c") == 0)
        needed = AVX_STATE;
    return (saved_state() & needed) == needed;
}

const char *ow_missing_feature(const struct ow_feature *features, int32_t count)
{
    int32_t number;

    for (number = 0; number < count; number++)
        if (!has_feature(&features[number]))
            return features[number].name;
    return NULL;
}
#else
const char *ow_missing_feature(const struct ow_feature *features, int32_t count)
{
    (void)features;
    (void)count;
    return NULL;
}
#endif

/* quota / period from one file ("max 100000") or two; 0 without a limit. */
static int32_t quota_of(const char *quota_path, const char *period_path)
{
    long long quota = 0, period = 0;
    char word[32] = "";
    FILE *file = fopen(quota_path, "re");

    if (file == NULL)
        return 0;
    if (fscanf(file, "%31s %lld", word, &period) < 1 || sscanf(word, "%lld", &quota) != 1)
        quota = 0; /* "max" */
    fclose(file);
    if (period_path != NULL && quota > 0) {
        file = fopen(period_path, "re");
        if (file == NULL)
            return 0;
        if (fscanf(file, "%lld", &period) != 1)
            period = 0;
        fclose(file);
    }
    if (quota <= 0 || period <= 0)
        return 0;
    return (int32_t)((quota + period - 1) / period);
}

int32_t ow_available_threads(void)
{
    cpu_set_t allowed;
    int32_t count, quota;

    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        count = CPU_COUNT(&allowed);
    else
        count = (int32_t)sysconf(_SC_NPROCESSORS_ONLN); /* more than the set has room for */
    quota = quota_of("/sys/fs/cgroup/cpu.max", NULL);
    if (quota == 0)
        quota = quota_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
                         "/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (quota > 0 && quota < count)
        count = quota;
    return count > 0 ? count : 1;
}
