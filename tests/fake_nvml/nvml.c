/* A libnvidia-ml.so.1 of our own, which plays the machine that machine.h describes.
 *
 * The machine is read when NVML gets its first user, and where its file was written since, with every further one: one
 * process can play one machine after the other, and a machine that changes. Lines
 * "INDEX XID" that are appended at run time to the file that FAKE_NVML_XIDS names become XID events.
 */
#include "machine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define NO_ARGUMENT (-2)
#define POLL_MILLISECONDS 20
#define HEALTH_EVENTS (nvmlEventTypeXidCriticalError | nvmlEventTypeDoubleBitEccError | nvmlEventTypeSingleBitEccError)

#define FAIL_IF_TOLD_FOR(first, second)                                     \
    do {                                                                    \
        nvmlReturn_t told = outcome(__func__, (int)(first), (int)(second)); \
        if (told != NVML_SUCCESS) return told;                              \
    } while (0)
#define FAIL_IF_TOLD() FAIL_IF_TOLD_FOR(NO_ARGUMENT, NO_ARGUMENT)
#define FAIL_IF_TOLD_OF(device, second)                    \
    do {                                                   \
        if (!(device)) return NVML_ERROR_INVALID_ARGUMENT; \
        FAIL_IF_TOLD_FOR((device)->index, second);         \
    } while (0)

static nvmlReturn_t answer_text(const char *text, char *buffer, unsigned length) {
    if (strlen(text) >= length) return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(buffer, text);
    return NVML_SUCCESS;
}

/* The library as a whole. */

static pthread_mutex_t users_lock = PTHREAD_MUTEX_INITIALIZER;
static int users;

static nvmlReturn_t initialise(const char *function) {
    nvmlReturn_t told;
    pthread_mutex_lock(&users_lock);
    if (users == 0 || machine_has_changed()) read_machine();
    told = outcome(function, NO_ARGUMENT, NO_ARGUMENT);
    if (told == NVML_SUCCESS) users++;
    pthread_mutex_unlock(&users_lock);
    return told;
}

nvmlReturn_t nvmlInit_v2(void) { return initialise(__func__); }

nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    return initialise(__func__);
}

nvmlReturn_t nvmlInit(void) { return nvmlInit_v2(); }

nvmlReturn_t nvmlShutdown(void) {
    pthread_mutex_lock(&users_lock);
    if (users > 0) users--;
    pthread_mutex_unlock(&users_lock);
    FAIL_IF_TOLD();
    return NVML_SUCCESS;
}

const char *nvmlErrorString(nvmlReturn_t code) {
    static char text[32];
    snprintf(text, sizeof text, "fake NVML error %d", code);
    return text;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length) {
    FAIL_IF_TOLD();
    return answer_text(machine.driver, version, length);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned length) {
    FAIL_IF_TOLD();
    return answer_text(machine.driver, version, length);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
    FAIL_IF_TOLD();
    *version = 12090;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    FAIL_IF_TOLD();
    *version = 12090;
    return NVML_SUCCESS;
}

/* Finding GPUs. */

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    FAIL_IF_TOLD();
    *count = (unsigned)machine.gpus;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    FAIL_IF_TOLD_FOR(index, NO_ARGUMENT);
    if (index >= (unsigned)machine.gpus) return NVML_ERROR_INVALID_ARGUMENT;
    *device = &machine.gpu[index];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *device) {
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    for (int i = 0; i < machine.gpus; i++)
        if (!strcmp(uuid, machine.gpu[i].uuid)) {
            FAIL_IF_TOLD_FOR(i, NO_ARGUMENT);
            *device = &machine.gpu[i];
            return NVML_SUCCESS;
        }
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device) {
    for (int i = 0; i < machine.gpus; i++)
        if (!strcasecmp(bus_id, machine.gpu[i].bus_id)) {
            FAIL_IF_TOLD_FOR(i, NO_ARGUMENT);
            *device = &machine.gpu[i];
            return NVML_SUCCESS;
        }
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *bus_id, nvmlDevice_t *device) {
    return nvmlDeviceGetHandleByPciBusId_v2(bus_id, device);
}

/* What a GPU is. */

static nvmlReturn_t answer_pci(const char *bus_id, nvmlPciInfo_t *pci) {
    memset(pci, 0, sizeof *pci);
    snprintf(pci->busId, sizeof pci->busId, "%s", bus_id);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%s", strlen(bus_id) > 12 ? bus_id + 4 : bus_id);
    sscanf(bus_id, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    pci->pciDeviceId = 0x000010DE;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned *index) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    *index = (unsigned)device->index;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned *minor) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    *minor = (unsigned)device->index;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned length) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    return answer_text(device->uuid, uuid, length);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned length) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    return answer_text(device->name, name, length);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    return answer_pci(device->bus_id, pci);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    return nvmlDeviceGetPciInfo_v3(device, pci);
}

nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    return nvmlDeviceGetPciInfo_v3(device, pci);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    memory->total = memory->free = device->memory_mib << 20;
    memory->used = 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    if (memory->version != nvmlMemory_v2) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memory->total = memory->free = device->memory_mib << 20;
    memory->used = memory->reserved = 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    *major = device->capability_major;
    *minor = device->capability_minor;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t device, nvmlBrandType_t *brand) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    *brand = NVML_BRAND_NVIDIA;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, nvmlDeviceArchitecture_t *architecture) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    *architecture = NVML_DEVICE_ARCH_UNKNOWN;
    return NVML_SUCCESS;
}

/* MIG: the mode, and the devices that a GPU is cut into. */

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    if (device->mig < 0) return NVML_ERROR_NOT_SUPPORTED;
    *current = *pending = (unsigned)device->mig;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned *count) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    *count = device->mig < 0 ? 0 : MAX_SLICES;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index, nvmlDevice_t *mig) {
    FAIL_IF_TOLD_OF(device, index);
    if (index >= MAX_SLICES) return NVML_ERROR_INVALID_ARGUMENT;
    *mig = &machine.slice[device->index][index];
    return (*mig)->uuid[0] ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned *is_mig) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    *is_mig = device >= &machine.slice[0][0] && device < &machine.slice[MAX_GPUS][0];
    return NVML_SUCCESS;
}

/* How GPUs are linked. */

nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t first, nvmlDevice_t second,
                                                 nvmlGpuTopologyLevel_t *level) {
    if (!second) return NVML_ERROR_INVALID_ARGUMENT;
    FAIL_IF_TOLD_OF(first, second->index);
    *level = (nvmlGpuTopologyLevel_t)first->levels[second->index];
    return NVML_SUCCESS;
}

/* A driver answers "not supported" where a GPU has no NVLink at all, and "invalid argument" for a link too many. */
#define FAIL_WITHOUT_LINK(device, link)                                             \
    do {                                                                            \
        FAIL_IF_TOLD_OF(device, link);                                              \
        if (!(device)->has_links) return NVML_ERROR_NOT_SUPPORTED;                  \
        if ((link) >= NVML_NVLINK_MAX_LINKS || !(device)->links[link].exists)       \
            return NVML_ERROR_INVALID_ARGUMENT;                                     \
    } while (0)

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned link, nvmlEnableState_t *active) {
    FAIL_WITHOUT_LINK(device, link);
    *active = device->links[link].active ? NVML_FEATURE_ENABLED : NVML_FEATURE_DISABLED;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkCapability(nvmlDevice_t device, unsigned link, nvmlNvLinkCapability_t capability,
                                           unsigned *supported) {
    FAIL_WITHOUT_LINK(device, link);
    *supported = capability == NVML_NVLINK_CAP_P2P_SUPPORTED || capability == NVML_NVLINK_CAP_VALID;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t device, unsigned link, nvmlIntNvLinkDeviceType_t *type) {
    FAIL_WITHOUT_LINK(device, link);
    *type = (nvmlIntNvLinkDeviceType_t)device->links[link].type;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned link, nvmlPciInfo_t *pci) {
    FAIL_WITHOUT_LINK(device, link);
    return answer_pci(device->links[link].bus_id, pci);
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo(nvmlDevice_t device, unsigned link, nvmlPciInfo_t *pci) {
    return nvmlDeviceGetNvLinkRemotePciInfo_v2(device, link, pci);
}

nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t first, nvmlDevice_t second, nvmlGpuP2PCapsIndex_t index,
                                    nvmlGpuP2PStatus_t *status) {
    if (!second) return NVML_ERROR_INVALID_ARGUMENT;
    FAIL_IF_TOLD_OF(first, second->index);
    if (index > NVML_P2P_CAPS_INDEX_NVLINK) return NVML_ERROR_INVALID_ARGUMENT;
    *status = NVML_P2P_STATUS_UNKNOWN;
    if (first->p2p[second->index].known) *status = (nvmlGpuP2PStatus_t)first->p2p[second->index].status[index];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, nvmlGpuFabricInfo_t *info) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    if (!device->has_fabric) return NVML_ERROR_NOT_SUPPORTED;
    *info = device->fabric;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *info) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    if (info->version != nvmlGpuFabricInfo_v2 && info->version != nvmlGpuFabricInfo_v3)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (!device->has_fabric) return NVML_ERROR_NOT_SUPPORTED;
    memcpy(info->clusterUuid, device->fabric.clusterUuid, sizeof info->clusterUuid);
    info->status = device->fabric.status;
    info->cliqueId = device->fabric.cliqueId;
    info->state = device->fabric.state;
    info->healthMask = 0;
    /* Version 2 of the structure ends here. */
    if (info->version == nvmlGpuFabricInfo_v3) info->healthSummary = NVML_GPU_FABRIC_HEALTH_SUMMARY_HEALTHY;
    return NVML_SUCCESS;
}

/* How a GPU fares. */

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t type, nvmlEccCounterType_t counter,
                                         unsigned long long *count) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    if (!device->has_ecc) return NVML_ERROR_NOT_SUPPORTED;
    *count = 0;
    if (type == NVML_MEMORY_ERROR_TYPE_UNCORRECTED && counter == NVML_VOLATILE_ECC)
        *count = device->uncorrectable_errors;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *correctable, unsigned *uncorrectable,
                                       unsigned *pending, unsigned *failed) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    if (!device->has_remapping) return NVML_ERROR_NOT_SUPPORTED;
    *correctable = device->remapping.correctable;
    *uncorrectable = device->remapping.uncorrectable;
    *pending = device->remapping.pending;
    *failed = device->remapping.failed;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    for (int i = 0; i < count; i++) {
        values[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
        if (values[i].fieldId != NVML_FI_DEV_GET_GPU_RECOVERY_ACTION || !device->has_recovery_action) continue;
        values[i].nvmlReturn = NVML_SUCCESS;
        values[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
        values[i].value.uiVal = device->recovery_action;
    }
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    FAIL_IF_TOLD();
    *set = (nvmlEventSet_t)malloc(1);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    free(set);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    *types = HEALTH_EVENTS;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    FAIL_IF_TOLD_OF(device, NO_ARGUMENT);
    (void)set;
    return types & ~HEALTH_EVENTS ? NVML_ERROR_NOT_SUPPORTED : NVML_SUCCESS;
}

static long events_read;

/* Another file begins with its first event. */
static void follow(const char *path) {
    static char followed[4096];
    if (!strncmp(followed, path, sizeof followed - 1)) return;
    snprintf(followed, sizeof followed, "%s", path);
    events_read = 0;
}

static int next_xid(int *gpu, unsigned long long *xid) {
    const char *path = getenv("FAKE_NVML_XIDS");
    FILE *file = path ? fopen(path, "r") : NULL;
    int found;

    if (!file) return 0;
    follow(path);
    fseek(file, events_read, SEEK_SET);
    found = fscanf(file, "%d %llu\n", gpu, xid) == 2 && *gpu >= 0 && *gpu < machine.gpus;
    if (found) events_read = ftell(file);
    fclose(file);
    return found;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *event, unsigned timeout_milliseconds) {
    int gpu;
    unsigned long long xid;

    FAIL_IF_TOLD();
    (void)set;
    for (unsigned waited = 0;; waited += POLL_MILLISECONDS) {
        if (next_xid(&gpu, &xid)) {
            memset(event, 0, sizeof *event);
            event->device = &machine.gpu[gpu];
            event->eventType = nvmlEventTypeXidCriticalError;
            event->eventData = xid;
            event->gpuInstanceId = event->computeInstanceId = 0xFFFFFFFF;
            return NVML_SUCCESS;
        }
        if (waited >= timeout_milliseconds) return NVML_ERROR_TIMEOUT;
        usleep(POLL_MILLISECONDS * 1000);
    }
}

nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *event, unsigned timeout_milliseconds) {
    return nvmlEventSetWait_v2(set, event, timeout_milliseconds);
}
