// The panel about a pod: what it has, what it would get now, and what stands in its way.

import { facts, quality, section } from "./details.js";
import { h } from "./dom.js";
import * as words from "./words.js";

/**
 * @param name "<namespace>/<name>"
 * @param pods what the cluster says of it: one entry for each node that it has GPUs of
 * @param explanation GET /v1/explain; null while it is on its way
 * @param problem why there is no explanation, in a sentence; null if there is
 * @param openMachine called with a node's name
 */
export function podDetails(name, pods, { explanation, problem }, openMachine) {
  return [
    h("h2", { tabindex: "-1" }, name),
    ...pods.filter((pod) => !pod.waits).map((pod) => held(pod, openMachine)),
    explanation ? null : h("p", { class: problem ? "note" : "note busy" }, problem ?? "asking the extender…"),
    ...(explanation ? explained(explanation, openMachine) : []),
  ];
}

function held(pod, openMachine) {
  return h(
    "section",
    {},
    h("h3", {}, "What it has"),
    facts([
      ["Node", nodeLink(pod.node, openMachine)],
      ["GPUs", pod.gpus?.length ? words.gpuList(pod.gpus) : `${pod.claimed || pod.asks_for || "?"}, not known which`],
      ["Speed", quality(pod.bandwidth_gbps, pod.best_bandwidth_gbps)],
      ["Known from", pod.basis ? words.BASIS[pod.basis] : "nothing: the node is not known"],
      ["Bound", pod.scheduled_at ? words.ago(pod.scheduled_at) : null],
    ]),
  );
}

function explained(said, openMachine) {
  const { best } = said;
  const heading = said.bound_to ? "Were another like it placed now" : "Were it placed now";
  return [
    said.problem ? h("p", { class: "trouble" }, said.problem) : null,
    h("section", {}, h("h3", {}, "What it asks for"), facts(asked(said.asks_for))),
    h(
      "section",
      {},
      h("h3", {}, heading),
      best
        ? facts([
            ["Best node", nodeLink(best.node, openMachine)],
            ...Object.entries(best.containers).map(([container, gpus]) => [container, `GPUs ${words.gpuList(gpus)}`]),
            ["Speed", `${best.predictable ? "" : "at least "}${words.gbps(best.bandwidth_gbps)}`],
          ])
        : h("p", {}, "No known node could serve it."),
    ),
    groups("Could serve it", said.able, openMachine),
    groups("Too few GPUs free", said.short, openMachine),
    groups("Refuse it", said.refused, openMachine),
    section("What would help", said.advice),
    section("Answered last", lastAnswers(said)),
  ];
}

function asked(asks) {
  return [
    ["GPUs", asks.gpus || null],
    ...Object.entries(asks.slices),
    ["At least", asks.min_bandwidth_gbps ? words.gbps(asks.min_bandwidth_gbps) : null],
    ["Requires", asks.require === "any" ? null : asks.require],
    ["Communication", asks.communication],
  ];
}

function groups(title, all, openMachine) {
  return section(
    title,
    all.map((group) => [
      h("span", { class: "name" }, words.count(group.nodes, "node")),
      h("span", {}, group.reason),
      h("span", { class: "detail" }, group.examples.map((node) => nodeLink(node, openMachine)), group.nodes > group.examples.length ? " …" : ""),
    ]),
  );
}

function nodeLink(node, openMachine) {
  return h("button", { type: "button", class: "link", "data-machine": node, onclick: () => openMachine(node) }, node);
}

function lastAnswers(said) {
  const { last_filter: filter, last_prioritize: prioritize, last_preempt: preempt } = said;
  return [
    filter && `filter, ${words.ago(filter.at)}: ${filter.passed} of ${words.count(filter.candidates, "node")} passed on`,
    prioritize && `prioritize, ${words.ago(prioritize.at)}: ${prioritize.scored} scored, the best ${prioritize.best ?? "none"}`,
    preempt && `preempt, ${words.ago(preempt.at)}: ${words.count(Object.keys(preempt.kept).length, "node")} kept`,
  ].filter(Boolean);
}
