// The view of all pods with GPUs, and of those that wait for some.

import { h } from "./dom.js";
import { VirtualList } from "./virtual.js";
import * as words from "./words.js";

const COLUMNS = ["Pod", "Node", "GPUs", "GB/s", "Best there", "Known from"];
const WEAK = 0.9; // of the best that such a machine gives

/** @param open called with a pod's name */
export function podsView(scroller, open) {
  const rows = h("div", { role: "rowgroup", class: "rows" });
  const heading = h("div", { role: "row", class: "pod heading" }, COLUMNS.map((name) => h("span", { role: "columnheader" }, name)));
  const table = h(
    "div",
    { role: "table", class: "pods", "aria-label": "Pods" },
    h("div", { role: "rowgroup" }, heading),
    rows,
  );
  const nothing = h("p", { class: "nothing", hidden: true }, "No pod is like that.");
  scroller.replaceChildren(nothing, table);
  const make = (pod, index) => row(pod, index, open);
  const keyOf = (pod) => `${pod.pod} ${pod.node}`;
  const virtual = new VirtualList(scroller, rows, { rowHeight: 32, gap: 0, least: 0, make, keyOf });
  return {
    show(pods) {
      nothing.hidden = pods.length > 0;
      table.hidden = pods.length === 0;
      table.setAttribute("aria-rowcount", pods.length + 1);
      virtual.show(pods);
    },
    close: () => virtual.close(),
  };
}

function row(pod, index, open) {
  const name = h(
    "button",
    { type: "button", class: "link", title: pod.pod, "data-target": true, "data-pod": pod.pod, onclick: () => open(pod.pod) },
    pod.pod,
  );
  const cells = pod.waits ? waiting(pod) : bound(pod);
  return h(
    "div",
    { role: "row", class: `pod${pod.waits ? " waits" : ""}`, "aria-rowindex": index + 2 },
    [name, ...cells].map((content) => h("span", { role: "cell" }, content)),
  );
}

function waiting(pod) {
  const asked = pod.problem ?? (pod.asked_at ? `asked ${words.ago(pod.asked_at)}` : "");
  return ["waits", wanted(pod.asks_for), "", "", asked];
}

function wanted(asks) {
  const slices = Object.entries(asks.slices).map(([resource, number]) => `${number} ${short(resource)}`);
  return [asks.gpus ? `${asks.gpus} wanted` : null, ...slices].filter(Boolean).join(", ");
}

function bound(pod) {
  const slices = Object.entries(pod.slices).map(([resource, number]) => `${number} ${short(resource)}`);
  const gpus = pod.gpus?.length ? words.gpuList(pod.gpus) : null;
  const claimed = pod.claimed ? `${pod.claimed} by DRA` : null;
  const held = [gpus, claimed, ...slices].filter(Boolean).join(", ") || `${pod.asks_for ?? "?"}, not known which`;
  const reached = words.gbps(pod.bandwidth_gbps);
  const speed = pod.bandwidth_gbps < WEAK * pod.best_bandwidth_gbps ? h("b", { class: "weak" }, reached) : reached;
  return [pod.shortNode, held, speed, words.gbps(pod.best_bandwidth_gbps), pod.basis ?? ""];
}

function short(resource) {
  return resource.replace("nvidia.com/", "");
}
