/* The C ABI of the kernel pack. It names no op: ops, implementations and their arguments come from the manifest.
 *
 * Conventions: every function returns an opswap_status (0 is success) unless it says otherwise; nothing is printed,
 * nothing aborts, nothing is thrown across this border. Structs that may grow start with `struct_size` and are only
 * ever appended to. Strings are UTF-8 and NUL-terminated. All functions may be called from any thread. */
#ifndef OPSWAP_H
#define OPSWAP_H

#include <stddef.h>
#include <stdint.h>

#include "opswap_dlpack.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OPSWAP_ABI_MAJOR 1
#define OPSWAP_ABI_MINOR 1
#define OPSWAP_API __attribute__((visibility("default")))

/* 0 on success, otherwise a code of native/core/errors.def (opswap_status_name gives its name). */
typedef int32_t opswap_status;

typedef enum opswap_tag {
  OPSWAP_NONE = 0,      /* an optional tensor that is not given */
  OPSWAP_TENSOR = 1,    /* v.tensor */
  OPSWAP_QUANTIZED = 2, /* v.quantized */
  OPSWAP_INT = 3,       /* v.i */
  OPSWAP_FLOAT = 4,     /* v.f */
  OPSWAP_BOOL = 5,      /* v.i, 0 or 1 */
  OPSWAP_STRING = 6     /* v.s */
} opswap_tag;

/* One buffer of quantised values: what it holds, how it is scaled, and in which layout (an id that ops and converters
 * share). */
typedef struct opswap_quantized {
  uint32_t struct_size;
  uint32_t reserved;
  const DLTensor *data;
  const DLTensor *scale;
  const DLTensor *zeros; /* NULL for symmetric formats */
  const char *layout;
} opswap_quantized;

/* One argument of the packed convention. Tensors carry explicit strides, in elements; DLTensor.strides is never NULL.
 */
typedef struct opswap_arg {
  int32_t tag; /* opswap_tag */
  int32_t reserved;
  union {
    const DLTensor *tensor;
    const opswap_quantized *quantized;
    int64_t i;
    double f;
    const char *s;
  } v;
} opswap_arg;

/* How to run a call; NULL means all defaults. */
typedef struct opswap_exec {
  uint32_t struct_size;
  int32_t sm_budget; /* SMs a persistent kernel may use; 0 = all */
  void *stream;      /* cudaStream_t for device tensors, NULL on a CPU */
  void *workspace;   /* caller-owned, at least opswap_workspace_size() bytes, 64-byte aligned */
  size_t workspace_size;
  const void *plan; /* filled by opswap_plan, or NULL: the implementation plans for itself */
  size_t plan_size;
  const char *impl; /* run this implementation whatever is active, or NULL */
} opswap_exec;

typedef struct opswap_version {
  uint32_t struct_size;
  int32_t abi_major;
  int32_t abi_minor;
  int32_t manifest_schema;
  const char *pack_version;  /* semver */
  const char *build_digest;  /* sha256 over the sources and the generator's output */
  const char *cpu_isa;       /* the instruction set in use: portable, avx2 or avx512 */
  const char *device_status; /* "cuda: ..." or the reason why there is no usable device */
} opswap_version;

/* Versions of the library; compare abi_major before any other call. `out->struct_size` is read first; when it ends
 * before device_status, the CUDA driver is not asked for one (asking starts it, and a process that forks must not). */
OPSWAP_API opswap_status opswap_get_version(opswap_version *out);

/* The manifest (JSON, embedded at build time; docs/manifest.md). Static storage. */
OPSWAP_API const char *opswap_manifest(void);

/* Runs the active implementation of `op`. Arguments are in manifest order, all of them given. */
OPSWAP_API opswap_status opswap_call(const char *op, const opswap_arg *args, int32_t nargs, const opswap_exec *exec);

/* Fills a caller-owned plan (split schedules, tile maps) for later calls with the same shapes. With buf NULL only
 * `*size` is written. Implementations without a plan report 0 bytes. */
OPSWAP_API opswap_status opswap_plan(const char *op, const opswap_arg *args, int32_t nargs, const opswap_exec *exec,
                                     void *buf, size_t *size);

/* Bytes of workspace that this call needs from the caller. */
OPSWAP_API opswap_status opswap_workspace_size(const char *op, const opswap_arg *args, int32_t nargs,
                                               const opswap_exec *exec, size_t *size);

/* Makes `impl` the active implementation of `op`: one atomic store. Refused when it cannot run here at all. */
OPSWAP_API opswap_status opswap_use(const char *op, const char *impl);

/* JSON for one op: each implementation, whether it could run (these arguments, if args is not NULL), and why not.
 * Writes at most *size bytes including NUL and sets *size to the size needed (OPSWAP_E_BUFFER when too small). */
OPSWAP_API opswap_status opswap_why(const char *op, const opswap_arg *args, int32_t nargs, char *buf, size_t *size);

/* JSON: per op and implementation calls and errors; of the last one to two windows of `window_s` seconds how many calls
 * were timed, their mean and percentiles in nanoseconds, in all and by shape bucket; plus the active choice. */
OPSWAP_API opswap_status opswap_stats(char *buf, size_t *size);
OPSWAP_API opswap_status opswap_reset_stats(void);

/* An implementation that lives outside the library: the engine's own kernel ("framework"), or one under test.
 * The function gets checked arguments and returns a status; on failure it calls opswap_set_error first. */
typedef opswap_status (*opswap_external_fn)(void *ctx, const opswap_arg *args, int32_t nargs, const opswap_exec *exec);
typedef struct opswap_external {
  uint32_t struct_size;
  int32_t priority;      /* choice at load only; a registration never changes what is active */
  opswap_external_fn fn; /* NULL: listed as absent, with `absent_reason` */
  void *ctx;
  const char *absent_reason;
  const char *toggle_class; /* since 1.1: "live", "recapture" or "restart"; NULL, or without the field: live */
} opswap_external;
OPSWAP_API opswap_status opswap_register(const char *op, const char *impl, const opswap_external *external);

/* Where the calls of this process belong: written into every trace record. */
OPSWAP_API opswap_status opswap_set_context(int32_t rank, int64_t step, int64_t epoch);

/* One op call as it was seen by the switch. */
typedef struct opswap_trace_record {
  uint32_t struct_size;
  int32_t rank;
  uint64_t sequence; /* 1-based; gaps mean the ring was overrun */
  int64_t time_ns;   /* when it ended, since 1970 */
  int64_t step;
  int64_t epoch;
  uint64_t bucket;     /* the shape bucket, docs/manifest.md */
  int64_t duration_ns; /* -1: not known, as of work that goes on on a device */
  int32_t layer;       /* number, from 0, of the call among those of its op in the step */
  int32_t arm;         /* 0: live, 1: control, 2: candidate of a shadow run */
  int16_t op;          /* index into the manifest's ops */
  int16_t impl;        /* index into the implementations as opswap_why lists them */
  int32_t reserved;
} opswap_trace_record;

/* Keeps the last `capacity` calls (rounded up to a power of two); 0 stops recording and frees the ring. */
OPSWAP_API opswap_status opswap_trace_start(uint64_t capacity);
/* Copies records with sequence > after, oldest first; *count in: room, out: copied. The records lie struct_size bytes
 * apart, as the caller has set it in the first one. */
OPSWAP_API opswap_status opswap_trace_read(uint64_t after, opswap_trace_record *out, uint64_t *count);

/* Shadow runs. On chosen live calls of an op, a control and a candidate run on the call's own inputs, both into memory
 * of their own, in an order that chance decides, each timed after an untimed run of the first; their outputs are
 * compared. Nothing that is live is written, and what is live is not timed: of two equal calls the second is faster. */
typedef struct opswap_shadow {
  uint32_t struct_size;
  uint32_t first_of_bucket; /* so many calls of each shape bucket are chosen before the share counts */
  const char *control;
  const char *candidate;
  uint64_t salt;           /* the choice is a hash of salt, step and place in it: the same on ranks of one salt */
  double share_of_calls;   /* 0 to 1: of the calls after those */
  double share_of_time;    /* above 0: of the time of the steps (without steps: of all time) since the start; 1: all */
  uint64_t most_of_bucket; /* no more calls of one bucket than this */
  uint64_t memory;         /* most bytes that copies of one call may take; larger calls are not chosen */
} opswap_shadow;
/* One at a time per op; the one before it must have been stopped. */
OPSWAP_API opswap_status opswap_shadow_start(const char *op, const opswap_shadow *shadow);
/* Its records can be read until the next start. */
OPSWAP_API opswap_status opswap_shadow_stop(const char *op);

/* One chosen call. */
typedef struct opswap_shadow_record {
  uint32_t struct_size;
  int32_t rank;
  uint64_t sequence; /* 1-based; gaps mean that records were overrun */
  int64_t time_ns;   /* when it ended, since 1970 */
  int64_t step;
  int64_t epoch;
  uint64_t bucket;
  int32_t layer;           /* as in opswap_trace_record */
  int32_t candidate_first; /* 1: it ran before control */
  int64_t control_ns;      /* valid where both statuses are 0 */
  int64_t candidate_ns;
  int32_t control_status; /* of the call; where it is not 0 nothing is compared */
  int32_t candidate_status;
  int32_t candidate_overran; /* 1: it wrote outside its outputs */
  int32_t floor_known;       /* 1: control ran twice, and the fields of the floor say how far it was from itself */
  uint64_t elements;         /* of all outputs */
  uint64_t differing;        /* candidate's, of another value than control's */
  uint64_t outside;          /* beyond the op's tolerance, or not finite in another way */
  uint64_t became_nonfinite; /* not finite where control's is */
  double max_abs;            /* largest difference of finite elements */
  double worst;              /* largest difference over what the tolerance allows there */
  uint64_t floor_differing;
  double floor_worst;
} opswap_shadow_record;
/* Copies records with sequence > after, oldest first; *count in: room, out: copied; struct_size as for a trace. */
OPSWAP_API opswap_status opswap_shadow_read(const char *op, uint64_t after, opswap_shadow_record *out, uint64_t *count);
/* JSON: what was seen, chosen and left out for which reason, in all and by shape bucket, and the time it took. */
OPSWAP_API opswap_status opswap_shadow_status(const char *op, char *buf, size_t *size);

/* Recordings. The arguments of chosen live calls of an op are written to safetensors files, as they are before the call
 * (docs/recordings.md). Copies are made on the caller's thread, files written on another. */
typedef struct opswap_recording {
  uint32_t struct_size;
  uint32_t first_of_bucket; /* as in opswap_shadow, like the next three */
  uint64_t salt;
  double share_of_calls;
  uint64_t most_of_bucket;
  const char *folder;  /* is there, of this user, and nobody else's to read (0700); files are 0600 */
  uint64_t most_bytes; /* of all files of this recording; a call that does not fit is left out */
  uint64_t memory;     /* most bytes of calls that wait for the disk */
} opswap_recording;
/* One at a time per op. A file that cannot be written ends it, and its status says why. */
OPSWAP_API opswap_status opswap_record_start(const char *op, const opswap_recording *recording);
OPSWAP_API opswap_status opswap_record_stop(const char *op);
/* JSON: files, bytes, and what was seen, chosen and left out for which reason. */
OPSWAP_API opswap_status opswap_record_status(const char *op, char *buf, size_t *size);

/* The shape bucket of a record as people read it, as in "T16 H1024 bfloat16"; buf and size as for opswap_why. */
OPSWAP_API opswap_status opswap_bucket_name(const char *op, uint64_t bucket, char *buf, size_t *size);

/* Threads that CPU implementations may use; at most the CPUs in the process's affinity mask, which is the default. */
OPSWAP_API opswap_status opswap_set_threads(int32_t n);
OPSWAP_API int32_t opswap_get_threads(void);

/* Runs parallel regions on the host's own team (libgomp's GOMP_parallel inside torch) instead of the library's pool,
 * so that two pools never compete for the same cores. NULL goes back to the library's pool. */
typedef void (*opswap_host_parallel)(void (*fn)(void *), void *data, unsigned threads, unsigned flags);
OPSWAP_API opswap_status opswap_set_host_parallel(opswap_host_parallel run);

/* The last error of the calling thread: a sentence that names the call, what was expected and what came. */
OPSWAP_API const char *opswap_last_error(void);
/* For external implementations: sets it, and returns `status`. */
OPSWAP_API opswap_status opswap_set_error(opswap_status status, const char *message);
/* "OPSWAP_E_SHAPE" and the like; "OPSWAP_E_UNKNOWN" for a code this build does not know. */
OPSWAP_API const char *opswap_status_name(opswap_status status);

#ifdef __cplusplus
}
#endif
#endif
