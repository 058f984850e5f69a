// Brings the parts together: signing in, asking, filtering, the two views and the panel.

import { readCluster } from "./cluster.js";
import { machineDetails } from "./details.js";
import { byId, h, setOptions } from "./dom.js";
import { podDetails } from "./explain.js";
import { machinesToShow, podsToShow } from "./filter.js";
import { machinesView } from "./machines.js";
import { Panel } from "./panel.js";
import { podsView } from "./pods.js";
import { Poll } from "./poll.js";
import { ask, dropToken, hasToken, keepToken, Refused } from "./session.js";
import { drawLegend, drawTotals } from "./summary.js";

const panel = new Panel(byId("details"), markOpen);
let poll = null;
let cluster = null;
let source = { cluster: null, pods: "" };
let view = null;
let viewName = "machines";
let updatedAt = null;

byId("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(byId("token").value.trim());
  byId("token").value = "";
  byId("login-error").textContent = "";
  start();
});
byId("sign-out").addEventListener("click", () => signOut(""));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("input", draw);
byId("filters").addEventListener("reset", () => setTimeout(draw)); // the fields are cleared after the event
byId("show-machines").addEventListener("click", () => choose("machines"));
byId("show-pods").addEventListener("click", () => choose("pods"));
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, select");
  if (event.key === "/" && !isTyping && !byId("app").hidden) {
    event.preventDefault();
    byId("search").focus();
  }
});
setInterval(showAge, 1000);
drawLegend(byId("legend"));
if (hasToken()) start();
else signOut("");

function start() {
  poll = new Poll(onHeard, onFailed);
  poll.now();
}

function signOut(reason) {
  poll?.stop();
  dropToken();
  cluster = null;
  source = { cluster: null, pods: "" };
  panel.close();
  view?.close();
  view = null;
  byId("content").replaceChildren();
  byId("app").hidden = true;
  byId("login").hidden = false;
  byId("login-error").textContent = reason;
  byId("token").focus();
}

function onHeard(latest) {
  const pods = JSON.stringify(latest.pods);
  updatedAt = Date.now();
  if (latest.cluster !== source.cluster || pods !== source.pods) {
    source = { cluster: latest.cluster, pods };
    cluster = readCluster(latest.cluster, latest.pods.pods);
    setOptions(byId("model"), cluster.models);
    setOptions(byId("interconnect"), cluster.interconnects);
    setOptions(byId("namespace"), cluster.namespaces);
  }
  byId("login").hidden = true;
  if (byId("app").hidden) {
    byId("app").hidden = false;
    choose(viewName);
    byId("show-machines").focus();
  }
  draw();
  panel.refresh();
  showAge();
}

function onFailed(error) {
  if (error instanceof Refused && error.status === 401) signOut(`The extender said: ${error.message}`);
  else if (cluster === null) signOut(`The cluster cannot be shown: ${error.message}`);
  else byId("freshness").textContent = `not up to date: ${error.message}`;
}

function showAge() {
  if (updatedAt === null) return;
  const seconds = Math.round((Date.now() - updatedAt) / 1000);
  // Said only where it matters: a reader of screens should not hear the seconds.
  if (seconds > 15) byId("freshness").textContent = `not up to date: heard ${seconds - (seconds % 15)} s ago`;
  else byId("freshness").textContent = "up to date";
}

function choose(name) {
  viewName = name;
  view?.close();
  const content = byId("content");
  content.setAttribute("aria-label", name === "pods" ? "Pods" : "Machines");
  byId("app").dataset.view = name;
  view = name === "pods" ? podsView(content, openPod) : machinesView(content, openMachine, isOpen);
  content.scrollTop = 0;
  for (const each of ["machines", "pods"]) {
    if (each === name) byId(`show-${each}`).setAttribute("aria-current", "page");
    else byId(`show-${each}`).removeAttribute("aria-current");
  }
  draw();
}

function draw() {
  if (cluster === null || view === null) return;
  const wanted = wishes();
  const machines = machinesToShow(cluster.machines, wanted);
  const pods = podsToShow(cluster.pods, wanted);
  byId("machines-count").textContent = cluster.machines.length.toLocaleString("en");
  byId("pods-count").textContent = cluster.pods.length.toLocaleString("en");
  const [shown, all] = viewName === "pods" ? [pods, cluster.pods] : [machines, cluster.machines];
  view.show(shown);
  byId("shown").textContent = shown.length === all.length ? "" : `${shown.length.toLocaleString("en")} of ${all.length.toLocaleString("en")}`;
  drawTotals(byId("totals"), cluster.totals);
}

function wishes() {
  const value = (id) => byId(id).value;
  return {
    search: value("search"),
    state: value("state"),
    free: Number(value("free")) || 0,
    model: value("model"),
    interconnect: value("interconnect"),
    namespace: value("namespace"),
    order: value("order"),
  };
}

function isOpen(name) {
  return panel.subject?.machine === name;
}

/** Show on the cards which one the panel is about. */
function markOpen() {
  for (const cover of byId("content").querySelectorAll("[data-machine]")) {
    cover.setAttribute("aria-expanded", String(isOpen(cover.dataset.machine)));
  }
}

function openMachine(name) {
  panel.open({ machine: name }, () => {
    const machine = cluster.machines.find((each) => each.name === name);
    return machine ? machineDetails(machine, openPod) : gone(name);
  });
}

async function openPod(name) {
  const answer = { explanation: null, problem: null };
  panel.open({ pod: name }, () => {
    const pods = cluster.pods.filter((each) => each.pod === name);
    return podDetails(name, pods, answer, openMachine);
  });
  const [namespace, ...rest] = name.split("/");
  try {
    const heard = await ask(`/v1/explain/${encodeURIComponent(namespace)}/${encodeURIComponent(rest.join("/"))}`);
    answer.explanation = heard.document;
  } catch (error) {
    answer.problem = error.message;
  }
  panel.refresh();
}

function gone(name) {
  return [h("h2", { tabindex: "-1" }, name), h("p", {}, "The node is gone.")];
}
