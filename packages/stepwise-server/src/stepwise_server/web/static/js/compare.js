// Two to twenty runs: curves over each other, only the parameters that differ, final metrics with the best marked.

import { call } from "./api.js";
import { COLOURS, draw, plain, smooth } from "./charts.js";
import { h, number, show, state } from "./dom.js";

const LOWER = /loss|error|perplexity|seconds|mae|mse|wer|cer/i;

export async function view(main) {
  const ids = (new URLSearchParams(location.search).get("ids") ?? "").split(",").filter(Boolean);
  if (ids.length < 2 || ids.length > 20) {
    show(main, h("div", { class: "whole" }, h("div", { class: "card" }, "Choose two to twenty runs in the table, then Compare.")));
    return;
  }
  const fields = ["name", "status", "project.name", "hyperparams", "last_metrics", "started", "active_duration", "last_iteration"];
  const found = (await call("tasks.get_all_ex", { id: ids, only_fields: fields, search_hidden: true })).tasks;
  const tasks = ids.map((id) => found.find((task) => task.id === id)).filter(Boolean);
  const colours = Object.fromEntries(tasks.map((task, index) => [task.id, COLOURS[index % COLOURS.length]]));
  const weight = h("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: 0, "aria-label": "Smoothing", oninput: () => curves() });
  const charts = h("div", { class: "charts" });
  const { metrics } = await call("events.multi_task_scalar_metrics_iter_histogram", { tasks: tasks.map((task) => task.id), key: "iter", samples: 800 });
  show(main, h("div", { class: "whole" }, h("h1", {}, `${tasks.length} runs`),
    section("Final metrics", finals(tasks, colours)), section("Parameters that differ", parameters(tasks)),
    h("div", { class: "bar", style: "margin-top: 1rem" }, h("h2", { style: "margin: 0" }, "Curves"), h("label", {}, "Smoothing ", weight)), charts));
  const boxes = new Map();

  async function curves() {
    for (const [metric, variants] of Object.entries(metrics)) {
      if (metric.startsWith(":monitor")) continue;
      for (const [variant, byTask] of Object.entries(variants)) {
        const title = `${metric} / ${variant}`;
        if (!boxes.has(title)) {
          boxes.set(title, h("div", { class: "chart" }));
          charts.append(h("div", { class: "card" }, boxes.get(title)));
        }
        const lines = tasks.filter((task) => byTask[task.id]).map((task) => ({ x: byTask[task.id].x, y: smooth(byTask[task.id].y, Number(weight.value)), name: plain(task.name),
          mode: byTask[task.id].x.length === 1 ? "markers" : "lines", line: { color: colours[task.id], width: 1.8 }, marker: { color: colours[task.id] } }));
        await draw(boxes.get(title), lines, { title: plain(title), hovermode: "x unified", showlegend: tasks.length < 7, uirevision: "keep" });
      }
    }
  }
  await curves();
}

function section(title, content) {
  return h("section", { class: "card", style: "margin-top: .8rem" }, h("h2", { style: "margin-top: 0" }, title), content);
}

function heads(tasks, colours) {
  return tasks.map((task) => h("th", { scope: "col" }, colours && h("span", { style: `color: ${colours[task.id]}` }, "● "),
    h("a", { href: `/projects/${task.project?.id ?? "*"}/tasks/${task.id}` }, task.name), h("br"), state(task)));
}

function finals(tasks, colours) {
  const cells = (task) => Object.values(task.last_metrics ?? {}).flatMap((variants) => Object.values(variants)).filter((each) => !each.metric.startsWith(":monitor"));
  const names = [...new Set(tasks.flatMap((task) => cells(task).map((each) => `${each.metric} / ${each.variant}`)))].sort();
  if (!names.length) return h("p", { class: "soft" }, "No metrics yet.");
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "last value"), heads(tasks, colours))), h("tbody", {}, names.map((name) => {
    const values = tasks.map((task) => cells(task).find((each) => `${each.metric} / ${each.variant}` === name)?.value);
    const known = values.filter((value) => value !== undefined);
    const best = LOWER.test(name) ? Math.min(...known) : Math.max(...known);
    const marked = known.length > 1 && new Set(known).size > 1;
    return h("tr", {}, h("td", {}, name), values.map((value) => h("td", { class: "number" }, h("span", { class: marked && value === best ? "best" : "" }, number(value)))));
  }))));
}

function parameters(tasks) {
  const all = tasks.map((task) => Object.fromEntries(Object.entries(task.hyperparams).flatMap(([section, items]) => Object.values(items).map((item) => [`${section}/${item.name}`, item.value]))));
  const names = [...new Set(all.flatMap(Object.keys))].sort().filter((name) => new Set(all.map((each) => each[name])).size > 1);
  if (!names.length) return h("p", { class: "soft" }, "All parameters are equal.");
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}), heads(tasks))), h("tbody", {}, names.map((name) =>
    h("tr", {}, h("td", {}, name), all.map((each) => h("td", { class: "mono" }, each[name] ?? "—")))))));
}
