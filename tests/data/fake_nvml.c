/* A stand-in for NVIDIA's libnvidia-ml.so.1: the calls that llmfit makes, answered from the scenario named in
 * FAKE_NVML. Built by the tests (cc -shared -fPIC -o libnvidia-ml.so.1 fake_nvml.c), loaded by the real binding
 * (pynvml) of a program that is started with LD_LIBRARY_PATH. Structures and codes follow nvml.h.
 *
 * FAKE_NVML_PID names a process that holds VRAM: where a scenario has programs, the first is it.
 * FAKE_NVML_CARDS lists cards for the scenario "cards": NAME|MiB|PCI device id in hexadecimal;NAME|MiB|id;…
 * FAKE_NVML_DRIVER is the driver's version, 580.65.06 if unset.
 *
 * Cards are an RTX 3090 unless said otherwise.
 *   one, two (both; card 0 of "two" has programs), mixed (an RTX 3060 before it), many (17), none, cards
 *   crowd (the driver counts four billion)
 *   no_driver, mismatch, ancient (init is missing), init_denied, hang_init
 *   hang (the second call never returns), lost (card 1 disappears), denied (card 1 may not be opened)
 *   undrawn (the list of programs that draw fails), partial (several fields NotSupported),
 *   nonsense (impossible numbers), narrow (4 of 16 PCIe lanes)
 *   old (a driver without the newer versions of calls), mps (a program under NVIDIA's MPS server)
 *   control (escape sequences in the name), latin1 (name not UTF-8)
 *   laptop (RTX 4090 Laptop GPU), vgpu (A40-24Q in a virtual machine), wsl (no programs, memory version 1 only)
 *   gb10 (memory NotSupported, an invented PCIe link, programs with bytes), zero (memory total 0)
 *   jetson (most things NotSupported, some functions missing)
 *   mig (H100 cut into 3g.40gb, 2g.20gb, 1g.10gb; programs on the first), mig_mixed (and a whole RTX 3090),
 *   mig_profile (memory of the card denied), mig_denied (everything of the card denied), mig_host (slices do not
 *   list programs, the card does), mig_empty (no slice), mig_hidden (no slice for this user), mig_blind (a slice
 *   that tells neither memory nor attributes, on a card that tells nothing)
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9,
       FUNCTION_NOT_FOUND = 13, GPU_IS_LOST = 15, VERSION_MISMATCH = 18, ARGUMENT_VERSION_MISMATCH = 25,
       UNKNOWN = 999 };

typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gpu_instance, compute_instance; } process;
typedef struct { char legacy[16]; unsigned int domain, bus, device, id, subsystem; char bus_id[32]; } pci_info;
typedef struct { unsigned int multiprocessors, engines[5], gpu_slices, compute_slices; unsigned long long mib; }
    attributes;
typedef struct { unsigned int version, id, p2p, slices, instances, multiprocessors, engines[5];
                 unsigned long long mib; char name[96]; } profile_v2;

typedef struct { int card, slice; } device;
typedef struct { const char *name; unsigned int instance, slices, multiprocessors; unsigned long long mib, used; }
    slice;

static const unsigned long long MIB = 1ULL << 20;
static const unsigned int NO_INSTANCE = 0xFFFFFFFFu;
static device cards[64], parts[8];
/* Slot 1 is empty, as it is after a slice was destroyed. Sizes and counts: nvidia-smi mig -lgip on an H100. */
static const slice slices[4] = {{"3g.40gb", 1, 3, 60, 40448, 30000},
                                {NULL, 0, 0, 0, 0, 0},
                                {"2g.20gb", 5, 2, 32, 20096, 0},
                                {"1g.10gb", 13, 1, 16, 9984, 0}};

static int is(const char *name) {
    const char *scenario = getenv("FAKE_NVML");
    return scenario && strcmp(scenario, name) == 0;
}
static int starts(const char *name) {
    const char *scenario = getenv("FAKE_NVML");
    return scenario && strncmp(scenario, name, strlen(name)) == 0;
}
static int card_of(void *handle) { return ((device *)handle)->card; }
static int is_cut(void *handle) { return starts("mig") && card_of(handle) == 0; }
static const slice *slice_of(void *handle) {
    int number = ((device *)handle)->slice;
    return number < 0 ? NULL : &slices[number];
}
static int small(void *handle) { return is("mixed") && card_of(handle) == 0; }
static int shares_memory(void) { return is("gb10") || is("jetson"); }
static int own_pid(void) { return getenv("FAKE_NVML_PID") ? atoi(getenv("FAKE_NVML_PID")) : 1; }

/* Field number of card number in FAKE_NVML_CARDS. */
static const char *listed(int card, int field) {
    static char copy[4096];
    char *rest = copy, *entry = NULL;
    snprintf(copy, sizeof copy, "%s", getenv("FAKE_NVML_CARDS") ? getenv("FAKE_NVML_CARDS") : "");
    for (int number = 0; number <= card; number++) entry = strsep(&rest, ";");
    for (int number = 0; entry && number < field; number++) { strsep(&entry, "|"); }
    return entry ? strsep(&entry, "|") : "0";
}
static int listed_count(void) {
    const char *text = getenv("FAKE_NVML_CARDS");
    int count = text && *text;
    for (; text && *text; text++) count += *text == ';';
    return count;
}

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    if (is("hang_init")) for (;;) pause();
    if (is("no_driver")) return DRIVER_NOT_LOADED;
    if (is("mismatch")) return VERSION_MISMATCH;
    if (is("ancient")) return FUNCTION_NOT_FOUND;
    if (is("init_denied")) return NO_PERMISSION;
    return OK;
}
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "fake error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned int length) {
    const char *version = getenv("FAKE_NVML_DRIVER");
    snprintf(text, length, "%s", version ? version : is("jetson") ? "540.4.0" : "580.65.06");
    return OK;
}

int nvmlSystemGetProcessName(unsigned int pid, char *text, unsigned int length) {
    if (pid != 4000000000u) return NOT_SUPPORTED;
    snprintf(text, length, "/opt/secret\x1b[2J/llama-server");
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    if (is("none")) *count = 0;
    else if (is("many")) *count = 17;
    else if (is("crowd")) *count = 4000000000u;
    else if (is("cards")) *count = (unsigned int)listed_count();
    else *count = is("two") || is("lost") || is("denied") || is("mixed") || is("mig_mixed") ? 2 : 1;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if (is("denied") && index == 1) return NO_PERMISSION;
    if (is("crowd") && index > 0) return UNKNOWN;
    if (index >= 64) return NOT_FOUND;
    cards[index].card = (int)index;
    cards[index].slice = -1;
    *handle = &cards[index];
    return OK;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned int length) {
    if (is("hang")) for (;;) pause();
    const slice *part = slice_of(handle);
    if (part && is("mig_blind")) return UNKNOWN;
    if (part) snprintf(text, length, "NVIDIA H100 80GB HBM3 MIG %s", part->name);
    else if (is_cut(handle)) snprintf(text, length, "NVIDIA H100 80GB HBM3");
    else if (is("gb10")) snprintf(text, length, "NVIDIA GB10");
    else if (is("jetson")) snprintf(text, length, "Orin (nvgpu)");
    else if (is("control")) snprintf(text, length, "NVIDIA \x1b[31mEvil\n\x07 5000");
    else if (is("latin1")) snprintf(text, length, "NVIDIA \xff\xfe");
    else if (is("laptop")) snprintf(text, length, "NVIDIA GeForce RTX 4090 Laptop GPU");
    else if (is("vgpu")) snprintf(text, length, "NVIDIA A40-24Q");
    else if (is("cards")) snprintf(text, length, "%s", listed(card_of(handle), 0));
    else if (small(handle)) snprintf(text, length, "NVIDIA GeForce RTX 3060");
    else snprintf(text, length, "NVIDIA GeForce RTX 3090");
    return OK;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned int length) {
    int number = slice_of(handle) ? ((device *)handle)->slice : card_of(handle);
    snprintf(text, length, "%s-%08d-aaaa-bbbb-cccc-000000000000", slice_of(handle) ? "MIG" : "GPU", number);
    return OK;
}

int nvmlDeviceGetPciInfo_v3(void *handle, pci_info *info) {
    if (is("jetson") || is("partial")) return NOT_SUPPORTED;
    memset(info, 0, sizeof *info);
    info->domain = is("gb10") ? 15 : 0;
    info->bus = 1 + (unsigned int)card_of(handle);
    unsigned int id = is("gb10") ? 0x2E12 : is("laptop") ? 0x2717 : is("vgpu") ? 0x2235
                      : is_cut(handle) ? 0x2330 : small(handle) ? 0x2503 : 0x2204;
    if (is("cards")) id = (unsigned int)strtoul(listed(card_of(handle), 2), NULL, 16);
    info->id = id << 16 | 0x10DE;
    snprintf(info->bus_id, sizeof info->bus_id, "%08X:%02X:00.0", info->domain, info->bus);
    return OK;
}

static unsigned long long total_of(void *handle) {
    if (slice_of(handle)) return slice_of(handle)->mib * MIB;
    if (is("cards")) return strtoull(listed(card_of(handle), 1), NULL, 10) * MIB;
    return (is_cut(handle) ? 81559 : small(handle) ? 12288 : is("laptop") ? 16376 : 24576) * MIB;
}
static unsigned long long used_of(void *handle) {
    if (slice_of(handle)) return slice_of(handle)->used * MIB;
    return is("two") && card_of(handle) == 0 ? 2600 * MIB : 0;
}
static unsigned long long reserved_of(void *handle) { return (slice_of(handle) ? 14 : 400) * MIB; }

static int memory_error(void *handle) {
    if (shares_memory() || (is("mig_blind") && slice_of(handle))) return NOT_SUPPORTED;
    if ((is("mig_profile") || is("mig_denied") || is("mig_blind")) && !slice_of(handle)) return NO_PERMISSION;
    return is("lost") && card_of(handle) == 1 ? GPU_IS_LOST : OK;
}

int nvmlDeviceGetMemoryInfo(void *handle, memory_v1 *info) {
    if (memory_error(handle)) return memory_error(handle);
    info->total = total_of(handle);
    info->used = used_of(handle) + reserved_of(handle);
    info->free = info->total - info->used;
    return OK;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2 *info) {
    if (is("old")) return FUNCTION_NOT_FOUND;
    if (is("wsl")) return UNKNOWN;
    if (info->version != 0x02000028) return ARGUMENT_VERSION_MISMATCH;
    if (memory_error(handle)) return memory_error(handle);
    memset(&info->total, 0, sizeof *info - offsetof(memory_v2, total));
    if (is("zero")) return OK;
    info->total = total_of(handle);
    info->reserved = reserved_of(handle);
    info->used = used_of(handle);
    info->free = info->total - info->reserved - info->used;
    if (is("nonsense")) info->free = info->total + 1;
    return OK;
}

int nvmlDeviceGetMaxClockInfo(void *handle, unsigned int type, unsigned int *mhz) {
    if (is("partial") || is("vgpu") || shares_memory() || type != 2) return NOT_SUPPORTED;
    *mhz = is_cut(handle) ? 2619 : small(handle) ? 7501 : is("laptop") ? 9001 : 9751;
    return OK;
}

int nvmlDeviceGetMemoryBusWidth(void *handle, unsigned int *bits) {
    if (shares_memory()) return NOT_SUPPORTED;
    *bits = is("nonsense") ? 0 : is_cut(handle) ? 5120 : small(handle) ? 192 : is("laptop") ? 256 : 384;
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    *major = is("gb10") ? 12 : is_cut(handle) ? 9 : 8;
    *minor = is("gb10") ? 1 : is_cut(handle) ? 0 : is("jetson") ? 7 : is("laptop") ? 9 : 6;
    return OK;
}

int nvmlDeviceGetMaxPcieLinkGeneration(void *handle, unsigned int *generation) {
    if (is("partial") || is("vgpu")) return NOT_SUPPORTED;
    if (is("jetson")) return FUNCTION_NOT_FOUND;
    *generation = is("gb10") ? 1 : is("nonsense") ? NO_INSTANCE : is_cut(handle) ? 5 : 4;
    return OK;
}
int nvmlDeviceGetCurrPcieLinkWidth(void *handle, unsigned int *width) {
    if (is("partial") || is("vgpu") || is("jetson")) return NOT_SUPPORTED;
    *width = is("gb10") ? 1 : is("narrow") ? 4 : card_of(handle) == 0 && !is("laptop") ? 16 : 8;
    return OK;
}
int nvmlDeviceGetMaxPcieLinkWidth(void *handle, unsigned int *width) {
    int error = nvmlDeviceGetCurrPcieLinkWidth(handle, width);
    if (error == OK && is("narrow")) *width = 16;
    return error;
}

int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned int *milliwatts) {
    if (is("partial") || is("vgpu") || is("laptop") || shares_memory()) return NOT_SUPPORTED;
    *milliwatts = is_cut(handle) ? 700000 : 350000;
    return OK;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned int *milliwatts) {
    if (is("partial") || is("vgpu") || is("jetson")) return NOT_SUPPORTED;
    *milliwatts = is("nonsense") ? NO_INSTANCE : is("gb10") ? 4250 : is_cut(handle) ? 62000 : 31500;
    return OK;
}

int nvmlDeviceGetVirtualizationMode(void *handle, unsigned long long *mode) {
    (void)handle;
    if (is("jetson")) return FUNCTION_NOT_FOUND;
    *mode = is("vgpu") ? 2 : 0;
    return OK;
}

/* Programs. */

static int list(const process *running, unsigned int count, unsigned int *room, process *out) {
    unsigned int given = *room;
    *room = count;
    if (count == 0) return OK;
    if (given < count) return INSUFFICIENT_SIZE;
    memcpy(out, running, count * sizeof *out);
    return OK;
}

static int computing_slice(void *handle, unsigned int *room, process *out) {
    process running[2] = {{(unsigned int)own_pid(), 29000 * MIB, 1, 0}, {4000000000u, 500 * MIB, 5, 0}};
    if (!slice_of(handle)) return is("mig_denied") ? NO_PERMISSION : list(running, 2, room, out);
    if (is("mig_host")) return NOT_SUPPORTED;
    return list(running, slice_of(handle) == &slices[0], room, out);
}

static int computing(void *handle, unsigned int *room, process *out) {
    process running[2] = {{(unsigned int)own_pid(), 600 * MIB, NO_INSTANCE, NO_INSTANCE},
                          {4000000000u, 1500 * MIB, NO_INSTANCE, NO_INSTANCE}};
    if (is("jetson")) return NOT_SUPPORTED;
    if (is_cut(handle)) return computing_slice(handle, room, out);
    unsigned int count = is("two") || is("old") || is("gb10") ? 2 : 0;
    return list(running, card_of(handle) == 0 ? count : 0, room, out);
}

static int drawing(void *handle, unsigned int *room, process *out) {
    /* The first program draws, too: all ones is NVML's word for "not available". */
    process running[2] = {{(unsigned int)own_pid(), 200 * MIB, NO_INSTANCE, NO_INSTANCE},
                          {4000000001u, ~0ULL, NO_INSTANCE, NO_INSTANCE}};
    if (is("jetson") || is_cut(handle)) return NOT_SUPPORTED;
    if (is("undrawn")) return UNKNOWN;
    return list(running, is("two") && card_of(handle) == 0 ? 2 : 0, room, out);
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
int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *handle, unsigned int *room, process *out) {
    process running[1] = {{4000000000u, 900 * MIB, NO_INSTANCE, NO_INSTANCE}};
    (void)handle;
    return is("old") ? FUNCTION_NOT_FOUND : list(running, is("mps"), room, out);
}

/* Slices (MIG). */

int nvmlDeviceGetMigMode(void *handle, unsigned int *current, unsigned int *pending) {
    if (!starts("mig") || is("jetson")) return NOT_SUPPORTED;
    *current = *pending = (unsigned int)is_cut(handle);
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *count) {
    *count = is_cut(handle) ? 7 : 0;
    return OK;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int index, void **part) {
    if (is("mig_hidden")) return NO_PERMISSION;
    if (is("mig_empty") || index >= 4 || !slices[index].name || (is("mig_blind") && index > 0)) return NOT_FOUND;
    parts[index].card = card_of(handle);
    parts[index].slice = (int)index;
    *part = &parts[index];
    return OK;
}
int nvmlDeviceGetGpuInstanceId(void *handle, unsigned int *id) {
    if (!slice_of(handle)) return NOT_SUPPORTED;
    *id = slice_of(handle)->instance;
    return OK;
}
int nvmlDeviceGetComputeInstanceId(void *handle, unsigned int *id) {
    *id = 0;
    return slice_of(handle) ? OK : NOT_SUPPORTED;
}
int nvmlDeviceGetAttributes_v2(void *handle, attributes *out) {
    const slice *part = slice_of(handle);
    if (!part || is("mig_blind")) return NOT_SUPPORTED;
    memset(out, 0, sizeof *out);
    out->multiprocessors = part->multiprocessors;
    out->gpu_slices = out->compute_slices = part->slices;
    out->mib = part->mib;
    return OK;
}
int nvmlDeviceGetGpuInstanceProfileInfoV(void *handle, unsigned int profile, profile_v2 *out) {
    if (is("mig_denied") || is("mig_blind")) return NO_PERMISSION;
    if (!is_cut(handle) || profile != 4) return NOT_SUPPORTED;
    if (out->version != 0x02000098) return ARGUMENT_VERSION_MISMATCH;
    out->slices = 7;
    out->multiprocessors = 132;
    out->mib = 81152;
    snprintf(out->name, sizeof out->name, "MIG 7g.80gb");
    return OK;
}
