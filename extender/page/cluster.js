// What the extender said, with what the views need to know about each machine and pod. No DOM.

/**
 * @param document GET /v1/cluster
 * @param asked the pods of GET /v1/pods
 * @returns machines, pods, and the values that one can filter by
 */
export function readCluster(document, asked) {
  const domain = commonDomain(document.nodes.map((node) => node.name));
  const machines = document.nodes.map((node) => machineOf(node, document.topologies[node.topology] ?? null, domain));
  return {
    machines,
    pods: [...waitingPods(asked), ...machines.flatMap(boundPods)],
    models: distinct(machines.map((machine) => machine.model)),
    interconnects: distinct(machines.map((machine) => machine.kind?.interconnect)),
    namespaces: distinct(machines.flatMap((machine) => machine.namespaces)),
    totals: totalsOf(machines),
  };
}

export function namespaceOf(pod) {
  return pod.slice(0, pod.indexOf("/"));
}

/** What all names end in, from their first dot on; "" if that is not the same for all. */
function commonDomain(names) {
  const domainOf = (name) => (name.includes(".") ? name.slice(name.indexOf(".")) : "");
  const domain = names.length > 1 ? domainOf(names[0]) : "";
  return names.every((name) => domainOf(name) === domain) ? domain : "";
}

function machineOf(node, kind, domain) {
  const models = kind ? distinct(kind.gpus.map((gpu) => gpu.product ?? "unknown model")) : [];
  const pods = node.pods.map((pod) => pod.pod);
  return {
    ...node,
    kind,
    shortName: node.name.slice(0, node.name.length - domain.length),
    model: models.join(" / ") || null,
    namespaces: distinct(pods.map(namespaceOf)),
    trouble: troubleOf(node),
    text: [node.name, ...models, ...pods, ...(node.gpus ?? []).map((gpu) => gpu.uuid ?? "")].join("\n").toLowerCase(),
  };
}

/** How much a machine needs a person: 3 not known, 2 pods keep failing, 1 a GPU is out of use, 0 nothing. */
function troubleOf(node) {
  if (node.gpus === null) return node.allocatable === 0 || node.allocatable === null ? 0 : 3;
  if (node.standing !== "good") return 2;
  return node.gpus.some((gpu) => gpu.state === "unhealthy" || gpu.state === "cordoned") ? 1 : 0;
}

function boundPods(machine) {
  return machine.pods.map((pod) => ({
    ...pod,
    node: machine.name,
    shortNode: machine.shortName,
    model: machine.model,
    interconnect: machine.kind?.interconnect ?? null,
    waits: false,
    text: `${pod.pod}\n${machine.name}`.toLowerCase(),
  }));
}

function waitingPods(asked) {
  return asked
    .filter((pod) => pod.bound_to === null)
    .map((pod) => ({ ...pod, node: null, waits: true, text: pod.pod.toLowerCase() }));
}

function totalsOf(machines) {
  const totals = { free: 0, held: 0, sliced: 0, cordoned: 0, unhealthy: 0, unknown: 0 };
  for (const machine of machines) {
    if (machine.gpus === null) totals.unknown += machine.allocatable ?? 0;
    else for (const gpu of machine.gpus) totals[gpu.state] += 1;
  }
  return totals;
}

function distinct(values) {
  return [...new Set(values.filter(Boolean))].sort();
}
