// Which machines and pods are shown, and in which order. No DOM.

const STATES = {
  "": () => true,
  free: (machine) => machine.free > 0,
  full: (machine) => machine.free === 0,
  broken: (machine) => has(machine, "unhealthy") || has(machine, "cordoned"),
  sliced: (machine) => has(machine, "sliced"),
  unknown: (machine) => machine.gpus === null,
  standing: (machine) => machine.standing !== "good",
};

const byName = (a, b) => (a.name < b.name ? -1 : 1);
const ORDERS = {
  name: byName,
  free: (a, b) => (b.free ?? -1) - (a.free ?? -1) || byName(a, b),
  trouble: (a, b) => b.trouble - a.trouble || byName(a, b),
};

/** @param wanted `{search, state, free, model, interconnect, namespace, order}`, "" for any */
export function machinesToShow(machines, wanted) {
  const words = wordsOf(wanted.search);
  return machines
    .filter(
      (machine) =>
        STATES[wanted.state](machine) &&
        (machine.free ?? 0) >= wanted.free &&
        (!wanted.model || machine.model === wanted.model) &&
        (!wanted.interconnect || machine.kind?.interconnect === wanted.interconnect) &&
        (!wanted.namespace || machine.namespaces.includes(wanted.namespace)) &&
        words.every((word) => machine.text.includes(word)),
    )
    .sort(ORDERS[wanted.order]);
}

/** Those that wait come first; state, number of free GPUs and order are of machines and do not count. */
export function podsToShow(pods, wanted) {
  const words = wordsOf(wanted.search);
  return pods.filter(
    (pod) =>
      (!wanted.model || pod.model === wanted.model) &&
      (!wanted.interconnect || pod.interconnect === wanted.interconnect) &&
      (!wanted.namespace || pod.pod.startsWith(`${wanted.namespace}/`)) &&
      words.every((word) => pod.text.includes(word)),
  );
}

function wordsOf(search) {
  return search.toLowerCase().split(/\s+/).filter(Boolean);
}

function has(machine, state) {
  return machine.gpus !== null && machine.gpus.some((gpu) => gpu.state === state);
}
