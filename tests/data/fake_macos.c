/* Stands in for Metal, the Objective-C runtime and sysctlbyname: the symbols that llmfit calls on a Mac.
 * FAKE_MACOS chooses the Mac: m4max, m4max_wired, no_device, no_property, or any other word for nothing set. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int released;
static int device = 42;

static int is(const char *name) {
    const char *mac = getenv("FAKE_MACOS");
    return mac != NULL && strcmp(mac, name) == 0;
}

void *MTLCreateSystemDefaultDevice(void) { return is("no_device") ? NULL : &device; }

/* A selector is its name, as in the real runtime: a unique pointer for each text. */
const char *sel_registerName(const char *name) {
    static const char *known[] = {"recommendedMaxWorkingSetSize", "release", "respondsToSelector:"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], name) == 0)
            return known[i];
    return "unknown";
}

int fake_released(void) { return released; }

/* An object that gets a message it does not know ends the process, as NSObject does. */
uint64_t objc_msgSend(void *self, const char *selector, const char *asked) {
    if (self != &device)
        abort();
    if (strcmp(selector, "respondsToSelector:") == 0)
        return strcmp(asked, "unknown") != 0 && !is("no_property");
    if (is("no_property") && strcmp(selector, "release") != 0)
        abort();
    if (strcmp(selector, "recommendedMaxWorkingSetSize") == 0)
        return is("m4max_wired") ? (uint64_t)120259084288 : (uint64_t)115448725504;
    if (strcmp(selector, "release") == 0)
        return ++released;
    abort();
}

int sysctlbyname(const char *name, void *old, size_t *length, void *new, size_t new_length) {
    int32_t four = 0;
    int64_t eight = 0;
    const void *value = NULL;
    size_t size = 0;
    (void)new;
    (void)new_length;
    if (strcmp(name, "machdep.cpu.brand_string") == 0) {
        value = "Apple M4 Max";
        size = 13;
    } else if (strcmp(name, "hw.memsize") == 0) {
        eight = 137438953472;
        value = &eight;
        size = 8;
    } else if (strcmp(name, "hw.physicalcpu") == 0) {
        four = 16;
        value = &four;
        size = 4;
    } else if (strcmp(name, "hw.odd") == 0) {
        value = "abc";
        size = 3;
    } else if (strcmp(name, "hw.lie") == 0) {
        *length = 1 << 30;
        return 0;
    }
    if (value == NULL || size > *length)
        return -1;
    memcpy(old, value, size);
    *length = size;
    return 0;
}
