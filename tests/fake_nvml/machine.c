#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ANY (-1)

Machine machine;

static struct nvmlDevice_st *gpu_at(int index) {
    if (index < 0 || index >= MAX_GPUS) {
        fprintf(stderr, "fake NVML: no room for GPU %d\n", index);
        exit(1);
    }
    return &machine.gpu[index];
}

static void read_gpu(const char *line) {
    struct nvmlDevice_st gpu = {0};
    if (sscanf(line, "gpu %d %79s %31s %llu %d %d %d %63[^\n]", &gpu.index, gpu.uuid, gpu.bus_id, &gpu.memory_mib,
               &gpu.mig, &gpu.capability_major, &gpu.capability_minor, gpu.name) != 8)
        return;
    *gpu_at(gpu.index) = gpu;
    if (gpu.index >= machine.gpus) machine.gpus = gpu.index + 1;
}

static void read_slice(const char *line) {
    int gpu, index;
    char uuid[NVML_DEVICE_UUID_BUFFER_SIZE];
    if (sscanf(line, "slice %d %d %79s", &gpu, &index, uuid) != 3) return;
    if (index < 0 || index >= MAX_SLICES) return;
    machine.slice[gpu_at(gpu)->index][index].index = gpu;
    strcpy(machine.slice[gpu][index].uuid, uuid);
}

static void read_ancestor(const char *line) {
    int first, second, level;
    if (sscanf(line, "ancestor %d %d %d", &first, &second, &level) == 3)
        gpu_at(first)->levels[second] = gpu_at(second)->levels[first] = level;
}

static void read_p2p(const char *line) {
    int first, second, read, write, nvlink;
    if (sscanf(line, "p2p %d %d %d %d %d", &first, &second, &read, &write, &nvlink) != 5) return;
    gpu_at(first)->p2p[second].known = 1;
    gpu_at(first)->p2p[second].status[NVML_P2P_CAPS_INDEX_READ] = read;
    gpu_at(first)->p2p[second].status[NVML_P2P_CAPS_INDEX_WRITE] = write;
    gpu_at(first)->p2p[second].status[NVML_P2P_CAPS_INDEX_NVLINK] = nvlink;
    gpu_at(second)->p2p[first] = gpu_at(first)->p2p[second];
}

static void read_link(const char *line) {
    int gpu, index;
    Link link = {.exists = 1};
    if (sscanf(line, "link %d %d %d %u %31s", &gpu, &index, &link.active, &link.type, link.bus_id) != 5) return;
    if (index < 0 || index >= NVML_NVLINK_MAX_LINKS) return;
    gpu_at(gpu)->has_links = 1;
    gpu_at(gpu)->links[index] = link;
}

static void read_fabric(const char *line) {
    int gpu;
    unsigned state, status;
    char digits[2 * NVML_GPU_FABRIC_UUID_LEN + 1];
    nvmlGpuFabricInfo_t fabric = {0};
    if (sscanf(line, "fabric %d %u %u %32s %u", &gpu, &state, &status, digits, &fabric.cliqueId) != 5) return;
    fabric.state = (nvmlGpuFabricState_t)state;
    fabric.status = (nvmlReturn_t)status;
    for (int i = 0; i < NVML_GPU_FABRIC_UUID_LEN; i++) sscanf(digits + 2 * i, "%2hhx", &fabric.clusterUuid[i]);
    gpu_at(gpu)->has_fabric = 1;
    gpu_at(gpu)->fabric = fabric;
}

static void read_remapping(const char *line) {
    int gpu;
    unsigned correctable, uncorrectable, pending, failed;
    if (sscanf(line, "remapping %d %u %u %u %u", &gpu, &correctable, &uncorrectable, &pending, &failed) != 5) return;
    gpu_at(gpu)->has_remapping = 1;
    gpu_at(gpu)->remapping.correctable = correctable;
    gpu_at(gpu)->remapping.uncorrectable = uncorrectable;
    gpu_at(gpu)->remapping.pending = pending;
    gpu_at(gpu)->remapping.failed = failed;
}

static void read_ecc(const char *line) {
    int gpu;
    unsigned long long errors;
    if (sscanf(line, "ecc %d %llu", &gpu, &errors) != 2) return;
    gpu_at(gpu)->has_ecc = 1;
    gpu_at(gpu)->uncorrectable_errors = errors;
}

static void read_recovery(const char *line) {
    int gpu;
    unsigned action;
    if (sscanf(line, "recovery %d %u", &gpu, &action) != 2) return;
    gpu_at(gpu)->has_recovery_action = 1;
    gpu_at(gpu)->recovery_action = action;
}

static void read_failure(const char *line) {
    Failure failure;
    if (machine.failures < MAX_FAILURES &&
        sscanf(line, "fail %63s %d %d %d", failure.function, &failure.code, &failure.first, &failure.second) == 4)
        machine.failure[machine.failures++] = failure;
    sscanf(line, "fail-from %d %d", &machine.fail_from, &machine.fail_from_code);
}

static struct timespec written;

static struct timespec time_written(void) {
    const char *path = getenv("FAKE_NVML_MACHINE");
    struct stat file = {0};
    if (path) stat(path, &file);
    return file.st_mtim;
}

int machine_has_changed(void) {
    struct timespec now = time_written();
    return now.tv_sec != written.tv_sec || now.tv_nsec != written.tv_nsec;
}

void read_machine(void) {
    const char *path = getenv("FAKE_NVML_MACHINE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];

    written = time_written();
    memset(&machine, 0, sizeof machine);
    if (!file) {
        fprintf(stderr, "fake NVML: FAKE_NVML_MACHINE names no readable file\n");
        return;
    }
    while (fgets(line, sizeof line, file)) {
        sscanf(line, "driver %79s", machine.driver);
        read_gpu(line);
        read_slice(line);
        read_ancestor(line);
        read_p2p(line);
        read_link(line);
        read_fabric(line);
        read_remapping(line);
        read_ecc(line);
        read_recovery(line);
        read_failure(line);
    }
    fclose(file);
}

static int concerns(const Failure *failure, const char *function, int first, int second) {
    return (!strcmp(failure->function, "*") || !strcmp(failure->function, function)) &&
           (failure->first == ANY || failure->first == first) && (failure->second == ANY || failure->second == second);
}

nvmlReturn_t outcome(const char *function, int first, int second) {
    machine.calls++;
    if (machine.fail_from && machine.calls >= machine.fail_from) return (nvmlReturn_t)machine.fail_from_code;
    for (int i = 0; i < machine.failures; i++)
        if (concerns(&machine.failure[i], function, first, second)) return (nvmlReturn_t)machine.failure[i].code;
    return NVML_SUCCESS;
}
