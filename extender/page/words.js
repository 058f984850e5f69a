// The words in which machines and pods are spoken of. No DOM.

export const BASIS = {
  reported: "seen by the agent",
  recorded: "recorded on the pod; the node gives exactly these",
  enforced: "expected; the node may give another set that is worth as much",
  predicted: "expected; the vendor's device plugin decides",
};

export const STATE = {
  free: "free",
  held: "in use",
  sliced: "in slices",
  cordoned: "cordoned",
  unhealthy: "unhealthy",
  unknown: "not known",
};

export const STANDING = { suspect: "suspect", "left-out": "left out", probation: "on probation" };

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function gbps(value) {
  return value === null ? "" : `${value >= 100 ? Math.round(value) : value} GB/s`;
}

/** "0–3, 6": the GPUs of a set. */
export function gpuList(gpus) {
  const runs = [];
  for (const gpu of gpus) {
    const last = runs.at(-1);
    if (last && gpu === last[1] + 1) last[1] = gpu;
    else runs.push([gpu, gpu]);
  }
  return runs.map(([first, last]) => (first === last ? first : last === first + 1 ? `${first}, ${last}` : `${first}–${last}`)).join(", ");
}

/** Without the vendor's name, which all of them have. */
export function model(name) {
  return name === null ? "" : name.replaceAll("NVIDIA ", "");
}

export function free(machine) {
  return machine.free === null ? "not known" : `${machine.free} of ${machine.gpus.length} free`;
}

/** What is wrong with a machine, in a few words; null if nothing is. */
export function trouble(machine) {
  if (machine.gpus === null) return machine.problem;
  const broken = machine.gpus.filter((gpu) => gpu.state === "unhealthy").length;
  const cordoned = machine.gpus.filter((gpu) => gpu.state === "cordoned").length;
  const said = [
    machine.standing !== "good" ? `${STANDING[machine.standing]}: ${machine.standing_reason}` : null,
    broken ? `${broken} unhealthy` : null,
    cordoned ? `${cordoned} cordoned` : null,
  ].filter(Boolean);
  return said.join(", ") || null;
}

/** The largest set that is free and what it reaches. */
export function largestSet(machine) {
  const largest = machine.best_sets?.at(-1);
  return largest ? `all ${largest.gpus.length} at ${gbps(largest.bandwidth_gbps)}` : "";
}

export function ago(moment, now = Date.now()) {
  if (moment === null) return "";
  const seconds = Math.max(0, Math.round((now - Date.parse(moment)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 86400 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} d ago`;
}
