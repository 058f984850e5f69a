// The panel beside the views: one machine, or one pod.

import { diagram, SET_STYLES } from "./diagram.js";
import { h } from "./dom.js";
import * as words from "./words.js";

/** A machine: its picture, its GPUs, its links, its free sets. `openPod` is called with a pod's name. */
export function machineDetails(machine, openPod) {
  return [
    h("h2", { tabindex: "-1" }, machine.name),
    h("p", { class: "lead" }, [words.model(machine.model), machine.kind?.interconnect].filter(Boolean).join(" · ")),
    machine.problem ? h("p", { class: "trouble" }, machine.problem) : null,
    machine.standing === "good"
      ? null
      : h("p", { class: "trouble" }, `${words.STANDING[machine.standing]}: ${machine.standing_reason}`),
    machine.gpus ? diagram(machine, "diagram large") : null,
    facts([
      ["Free", words.free(machine)],
      ["In service", machine.usable === null ? "not known" : String(machine.usable)],
      ["Offered by the kubelet", machine.allocatable === null ? "not known" : String(machine.allocatable)],
      ["Chosen there by", { best: "this project's function", vendor: "the vendor's device plugin" }[machine.allocation]],
      ["Fabric clique", machine.clique],
      ["Left out until", machine.left_out_until],
    ]),
    section("Best free sets", bestSets(machine)),
    section("GPUs", machine.gpus?.map((gpu) => gpuEntry(machine, gpu, openPod))),
    section("Pods", machine.pods.map((pod, number) => podEntry(pod, number, openPod))),
    section("Links", linkEntries(machine.kind)),
  ];
}

export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts-list" }, known.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function section(title, items) {
  if (!items?.length) return null;
  return h("section", {}, h("h3", {}, title), h("ul", { class: "entries" }, items.map((item) => h("li", {}, item))));
}

/** A bandwidth beside the best that there is, as a bar and in words. */
export function quality(reached, best) {
  if (reached === null) return null;
  const said = best === null ? words.gbps(reached) : `${words.gbps(reached)} of ${words.gbps(best)}`;
  const bar = best === null ? null : h("meter", { min: 0, max: best, value: reached, "aria-hidden": "true" });
  return h("span", { class: "quality" }, bar, said);
}

function bestSets(machine) {
  return (machine.best_sets ?? []).map((set) => [
    h("span", { class: "name" }, words.count(set.gpus.length, "GPU")),
    h("span", { class: "number" }, words.gbps(set.bandwidth_gbps)),
    h("span", { class: "detail" }, words.gpuList(set.gpus)),
  ]);
}

function gpuEntry(machine, gpu, openPod) {
  const slices = gpu.slices.map((pool) => `${pool.free} of ${pool.total} ${pool.resource.replace("nvidia.com/", "")} free`);
  return [
    h("span", { class: "name" }, `GPU ${gpu.index}`),
    h("span", { class: `state ${gpu.state}` }, words.STATE[gpu.state]),
    gpu.pod ? podLink(gpu.pod, openPod) : null,
    gpu.basis && gpu.basis !== "reported" ? h("span", { class: "detail" }, words.BASIS[gpu.basis]) : null,
    gpu.reason ? h("span", { class: "trouble" }, gpu.reason) : null,
    slices.length ? h("span", { class: "detail" }, slices.join(", ")) : null,
    h("span", { class: "uuid" }, gpu.uuid ?? "no UUID"),
  ];
}

function podEntry(pod, number, openPod) {
  return [
    h("span", { class: `key ${pod.gpus?.length > 1 ? `set-${number % SET_STYLES}` : "single"}`, "aria-hidden": "true" }),
    podLink(pod.pod, openPod),
    h("span", { class: "detail" }, pod.gpus?.length ? `GPUs ${words.gpuList(pod.gpus)}` : "which GPUs is not known"),
    quality(pod.bandwidth_gbps, pod.best_bandwidth_gbps),
  ];
}

function podLink(pod, openPod) {
  return h("button", { type: "button", class: "link", "data-pod": pod, onclick: () => openPod(pod) }, pod);
}

/** Every kind of link with how many pairs have it, the fastest first. */
function linkEntries(kind) {
  const groups = new Map();
  for (const link of kind?.links ?? []) {
    const key = `${link.token} ${link.bandwidth_gbps}`;
    groups.set(key, { ...link, pairs: (groups.get(key)?.pairs ?? 0) + 1 });
  }
  return [...groups.values()]
    .sort((a, b) => b.bandwidth_gbps - a.bandwidth_gbps)
    .map((link) => [
      h("span", { class: "name" }, link.token),
      h("span", { class: "number" }, words.gbps(link.bandwidth_gbps)),
      h("span", { class: "detail" }, words.count(link.pairs, "pair")),
    ]);
}
