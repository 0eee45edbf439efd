/* A stand-in for NVIDIA's libnvidia-ml.so.1: the calls that llmfit makes, answered from the scenario named in
 * FAKE_NVML. Built by the tests, loaded by the real binding (pynvml). Structures and codes follow nvml.h.
 *
 * Scenarios: one, two (cards with programs), no_driver, mismatch, none (no cards), gb10 (memory NotSupported),
 * zero (memory total 0), partial (several fields NotSupported), lost (card 1 disappears), denied (card 1 may not be
 * opened), hang (the second call never returns), control (escape sequences in the name), latin1 (name not UTF-8),
 * old (a driver without the newer versions of calls), nonsense (more free than total), mixed (two kinds of card).
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9,
       FUNCTION_NOT_FOUND = 13, GPU_IS_LOST = 15, VERSION_MISMATCH = 18, ARGUMENT_VERSION_MISMATCH = 25 };

typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gpu_instance, compute_instance; } process;

static const unsigned long long MIB = 1ULL << 20;
static int cards[16];

static int is(const char *name) {
    const char *scenario = getenv("FAKE_NVML");
    return scenario && strcmp(scenario, name) == 0;
}

static int index_of(void *handle) { return *(int *)handle; }
static int small(void *handle) { return is("mixed") && index_of(handle) == 0; }

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    if (is("no_driver")) return DRIVER_NOT_LOADED;
    if (is("mismatch")) return VERSION_MISMATCH;
    return OK;
}
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "fake error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned int length) {
    snprintf(text, length, "580.65.06");
    return OK;
}

int nvmlSystemGetProcessName(unsigned int pid, char *text, unsigned int length) {
    if (pid != 4000000000u) return NOT_SUPPORTED;
    snprintf(text, length, "/opt/secret\x1b[2J/llama-server");
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = is("none") ? 0 : is("two") || is("lost") || is("denied") || is("mixed") ? 2 : 1;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if (is("denied") && index == 1) return NO_PERMISSION;
    cards[index] = (int)index;
    *handle = &cards[index];
    return OK;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned int length) {
    if (is("hang")) for (;;) pause();
    if (is("gb10")) snprintf(text, length, "NVIDIA GB10");
    else if (is("control")) snprintf(text, length, "NVIDIA \x1b[31mEvil\n\x07 5000");
    else if (is("latin1")) snprintf(text, length, "NVIDIA \xff\xfe");
    else if (small(handle)) snprintf(text, length, "NVIDIA GeForce RTX 3060");
    else snprintf(text, length, "NVIDIA GeForce RTX 3090");
    return OK;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned int length) {
    snprintf(text, length, "GPU-%08d-aaaa-bbbb-cccc-000000000000", index_of(handle));
    return OK;
}

static unsigned long long total_of(void *handle) { return (small(handle) ? 12288 : 24576) * MIB; }
static unsigned long long used_of(void *handle) { return is("two") && index_of(handle) == 0 ? 2600 * MIB : 0; }

int nvmlDeviceGetMemoryInfo(void *handle, memory_v1 *info) {
    if (is("gb10")) return NOT_SUPPORTED;
    info->total = total_of(handle);
    info->used = used_of(handle) + 400 * MIB;
    info->free = info->total - info->used;
    return OK;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2 *info) {
    if (is("gb10")) return NOT_SUPPORTED;
    if (is("old")) return FUNCTION_NOT_FOUND;
    if (info->version != 0x02000028) return ARGUMENT_VERSION_MISMATCH;
    if (is("lost") && index_of(handle) == 1) return GPU_IS_LOST;
    memset(&info->total, 0, sizeof *info - offsetof(memory_v2, total));
    if (is("zero")) return OK;
    info->total = total_of(handle);
    info->reserved = 400 * MIB;
    info->used = used_of(handle);
    info->free = info->total - info->reserved - info->used;
    if (is("nonsense")) info->free = info->total + 1;
    return OK;
}

int nvmlDeviceGetMaxClockInfo(void *handle, unsigned int type, unsigned int *mhz) {
    if (is("partial") || is("gb10") || type != 2) return NOT_SUPPORTED;
    *mhz = small(handle) ? 7501 : 9751;
    return OK;
}

int nvmlDeviceGetMemoryBusWidth(void *handle, unsigned int *bits) {
    if (is("gb10")) return NOT_SUPPORTED;
    *bits = small(handle) ? 192 : 384;
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    (void)handle;
    *major = is("gb10") ? 12 : 8;
    *minor = is("gb10") ? 1 : 6;
    return OK;
}

int nvmlDeviceGetMaxPcieLinkGeneration(void *handle, unsigned int *generation) {
    (void)handle;
    if (is("partial") || is("gb10")) return NOT_SUPPORTED;
    *generation = 4;
    return OK;
}

int nvmlDeviceGetCurrPcieLinkWidth(void *handle, unsigned int *width) {
    if (is("partial") || is("gb10")) return NOT_SUPPORTED;
    *width = index_of(handle) == 0 ? 16 : 8;
    return OK;
}

int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned int *milliwatts) {
    (void)handle;
    if (is("partial") || is("gb10")) return NOT_SUPPORTED;
    *milliwatts = 350000;
    return OK;
}

static int list(const process *running, unsigned int count, unsigned int *room, process *out) {
    unsigned int given = *room;
    *room = count;
    if (count == 0) return OK;
    if (given < count) return INSUFFICIENT_SIZE;
    memcpy(out, running, count * sizeof *out);
    return OK;
}

static int computing(void *handle, unsigned int *room, process *out) {
    const char *pid = getenv("FAKE_NVML_PID");
    process running[2] = {{pid ? (unsigned int)atoi(pid) : 1, 600 * MIB, 0, 0}, {4000000000u, 1500 * MIB, 0, 0}};
    return list(running, (is("two") || is("old")) && index_of(handle) == 0 ? 2 : 0, room, out);
}

static int drawing(void *handle, unsigned int *room, process *out) {
    const char *pid = getenv("FAKE_NVML_PID");
    /* The first program draws, too: all ones is NVML's word for "not available". */
    process running[2] = {{pid ? (unsigned int)atoi(pid) : 1, 200 * MIB, 0, 0}, {4000000001u, ~0ULL, 0, 0}};
    return list(running, is("two") && index_of(handle) == 0 ? 2 : 0, room, out);
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *room, process *out) {
    return is("old") ? FUNCTION_NOT_FOUND : computing(handle, room, out);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned int *room, process *out) {
    return is("old") ? FUNCTION_NOT_FOUND : drawing(handle, room, out);
}
int nvmlDeviceGetComputeRunningProcesses_v2(void *handle, unsigned int *room, process *out) {
    return computing(handle, room, out);
}
int nvmlDeviceGetGraphicsRunningProcesses_v2(void *handle, unsigned int *room, process *out) {
    return drawing(handle, room, out);
}
