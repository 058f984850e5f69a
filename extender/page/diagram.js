// Draws a machine: GPUs as nodes, links as edges, and the set of each pod as the area between its GPUs.

import { byId, s } from "./dom.js";
import { isSwitched, lines, measures, places, SIZE } from "./geometry.js";

export const SET_STYLES = 4;
const VIEW = `0 0 ${SIZE} ${SIZE}`;

/** The picture of a known machine; for people who see it: whoever uses it says in words what it shows. */
export function diagram(machine, className) {
  const at = places(machine.gpus.length);
  const { radius } = measures(machine.gpus.length);
  return s(
    "svg",
    { viewBox: VIEW, class: className, "aria-hidden": "true", focusable: "false" },
    s("use", { href: `#${linksOf(machine)}` }),
    machine.pods.map((pod, number) => set(pod, number, at)),
    machine.gpus.map((gpu, index) => node(gpu, at[index], radius)),
  );
}

/** One GPU in a state, for the legend. */
export function sample(gpu) {
  const frame = { viewBox: "0 0 24 24", class: "sample", "aria-hidden": "true" };
  return s("svg", frame, node({ index: "", basis: null, ...gpu }, { x: 12, y: 12 }, 8.5));
}

/** A line of a kind of link, for the legend. */
export function sampleLine(family) {
  const frame = { viewBox: "0 0 28 24", class: "sample wide", "aria-hidden": "true" };
  const line = s("path", { d: "M2 12H26", class: `link ${family}`, "stroke-width": 2.5 });
  return s("svg", frame, line, family === "nvswitch" ? s("rect", { x: 9, y: 7, width: 10, height: 10, rx: 2, class: "hub" }) : null);
}

/** The links are the same for all machines of a kind: they are drawn once, and used by each. */
function linksOf(machine) {
  const id = `links-${machine.topology}`;
  if (!byId(id)) byId("shapes").append(s("symbol", { id, viewBox: VIEW }, drawnLinks(machine.kind)));
  return id;
}

function drawnLinks(kind) {
  const drawn = lines(kind).map(({ from, to, family, width }) =>
    s("path", { d: `M${from.x} ${from.y}L${to.x} ${to.y}`, class: `link ${family}`, "stroke-width": width }),
  );
  if (isSwitched(kind)) drawn.push(s("rect", { x: 52, y: 52, width: 16, height: 16, rx: 3, class: "hub" }));
  return drawn;
}

function set(pod, number, at) {
  if (!pod.gpus || pod.gpus.length < 2) return null;
  const corners = pod.gpus.map((gpu) => `${at[gpu].x} ${at[gpu].y}`).join("L");
  return s("path", { d: `M${corners}Z`, class: `set set-${number % SET_STYLES}` });
}

function node(gpu, { x, y }, r) {
  const isGuess = gpu.basis !== null && gpu.basis !== "reported";
  const group = s("g", { class: `gpu ${gpu.state}${isGuess ? " guess" : ""}` }, s("circle", { cx: x, cy: y, r }));
  const reach = r * 0.71;
  if (gpu.state === "unhealthy") {
    group.append(s("path", { class: "mark", d: `M${x - reach} ${y - reach}l${2 * reach} ${2 * reach}` }));
    group.append(s("path", { class: "mark", d: `M${x - reach} ${y + reach}l${2 * reach} ${-2 * reach}` }));
  } else if (gpu.state === "cordoned") {
    group.append(s("path", { class: "mark", d: `M${x - reach} ${y + reach}l${2 * reach} ${-2 * reach}` }));
  } else if (gpu.state === "sliced") {
    group.append(s("path", { class: "mark", d: `M${x} ${y - r}v${2 * r}M${x - r} ${y}h${2 * r}` }));
  } else if (r > 6 && gpu.index !== "") {
    group.append(s("text", { x, y, dy: "0.36em", "font-size": Math.min(11, r * 1.1) }, String(gpu.index)));
  }
  return group;
}
