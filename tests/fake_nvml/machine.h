/* The machine that the fake library plays, as read from the file that FAKE_NVML_MACHINE names.
 *
 * One line says one thing; GPUs are numbered from 0, and what is not said is not there:
 *
 *   driver VERSION
 *   gpu INDEX UUID BUS_ID MEMORY_MIB MIG MAJOR MINOR NAME       MIG: 1 on, 0 off, -1 not supported; MAJOR.MINOR: CUDA
 *   slice GPU INDEX UUID                                        a MIG device of a GPU, from 0
 *   ancestor GPU GPU LEVEL                                      LEVEL: an nvmlGpuTopologyLevel_t
 *   p2p GPU GPU READ WRITE NVLINK                               each an nvmlGpuP2PStatus_t; else unknown
 *   link GPU LINK ACTIVE TYPE BUS_ID                            TYPE: an nvmlIntNvLinkDeviceType_t; where it leads to
 *   fabric GPU STATE STATUS CLUSTER_UUID CLIQUE                 32 hexadecimal digits; else not supported
 *   ecc GPU UNCORRECTABLE                                       volatile ECC errors; else not supported
 *   recovery GPU ACTION                                         an nvmlDeviceGpuRecoveryAction_t; else not supported
 *   remapping GPU CORRECTABLE UNCORRECTABLE PENDING FAILED      remapped memory rows; else not supported
 *   fail FUNCTION CODE FIRST SECOND                             answer this nvmlReturn_t; FUNCTION may be "*"; FIRST is
 *                                                               a GPU, SECOND a link or the other GPU, -1 for any
 *   fail-from CALL CODE                                         every call from this one on (from 1) answers this
 */
#ifndef FAKE_NVML_MACHINE_H
#define FAKE_NVML_MACHINE_H

#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>

#define MAX_GPUS 16
#define MAX_FAILURES 256
#define MAX_SLICES 7

typedef struct {
    int exists, active;
    unsigned type;
    char bus_id[NVML_DEVICE_PCI_BUS_ID_BUFFER_SIZE];
} Link;

struct nvmlDevice_st {
    int index, mig, capability_major, capability_minor;
    char uuid[NVML_DEVICE_UUID_BUFFER_SIZE], name[NVML_DEVICE_NAME_BUFFER_SIZE];
    char bus_id[NVML_DEVICE_PCI_BUS_ID_BUFFER_SIZE];
    unsigned long long memory_mib, uncorrectable_errors;
    int levels[MAX_GPUS];
    struct { int known, status[3]; } p2p[MAX_GPUS]; /* by nvmlGpuP2PCapsIndex_t */
    int has_links, has_fabric, has_remapping, has_ecc, has_recovery_action;
    unsigned recovery_action;
    Link links[NVML_NVLINK_MAX_LINKS];
    nvmlGpuFabricInfo_t fabric;
    struct { unsigned correctable, uncorrectable, pending, failed; } remapping;
};

typedef struct {
    char function[64];
    int code, first, second;
} Failure;

typedef struct {
    char driver[NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE];
    int gpus, failures, calls, fail_from, fail_from_code;
    struct nvmlDevice_st gpu[MAX_GPUS], slice[MAX_GPUS][MAX_SLICES]; /* a slice has the index of its GPU */
    Failure failure[MAX_FAILURES];
} Machine;

extern Machine machine;

/* Read the machine anew, with no call made yet. */
void read_machine(void);

/* Whether its file was written since it was read. */
int machine_has_changed(void);

/* What this call is to answer: NVML_SUCCESS unless the machine says otherwise. -2 stands for "no such argument". */
nvmlReturn_t outcome(const char *function, int first, int second);

#endif
