// The table of runs, with the tree of projects at its side. The address holds the whole view.

import { call } from "./api.js";
import { ago, duration, h, notice, number, show, state, tags } from "./dom.js";
import { go, setQuery } from "./main.js";
import { pagedTable } from "./pages.js";

const PAGE = 100;
const EVERY = 5000;
const SORTS = { name: "Name", "-last_update": "Updated", "-started": "Started", "-last_iteration": "Iteration", status: "Status" };

export async function view(main, { project, writes }) {
  const query = new URLSearchParams(location.search);
  const chosen = new Set();
  const table = h("div", { class: "scroll" });
  const count = h("span", { class: "soft" });
  const actions = h("span", { class: "bar", style: "margin: 0" });
  let list = null; // the paged table
  let shown = "";
  let total = 0;
  let scroll = null;
  let more = false;
  let loading = false;
  let asked = 0;
  let states = {};

  const search = h("input", { type: "search", class: "grow", placeholder: "Name, tag or id", value: query.get("q") ?? "",
    "aria-label": "Filter", oninput: later(() => { setQuery({ q: search.value }); load(); }) });
  const status = select(["", "in_progress", "completed", "failed", "stopped", "published", "queued", "created"], query.get("status"), "any status", (value) => { setQuery({ status: value }); load(); });
  const sort = h("select", { "aria-label": "Order", onchange: () => { setQuery({ sort: sort.value }); load(); } },
    Object.entries(SORTS).map(([value, name]) => h("option", { value, selected: value === (query.get("sort") ?? "-last_update") }, `by ${name.toLowerCase()}`)));
  const columns = h("input", { placeholder: "columns: loss/train, Args/lr", value: query.get("columns") ?? "", "aria-label": "Columns of metrics and parameters",
    onchange: () => { setQuery({ columns: columns.value }); load(); } });
  const archived = h("input", { type: "checkbox", checked: query.get("archived") === "1", onchange: () => { setQuery({ archived: archived.checked ? "1" : "" }); load(); } });

  const tree = h("nav", { class: "card tree", "aria-label": "Projects" });
  show(main, h("div", { class: "columns" }, tree, h("section", { class: "card" },
    h("div", { class: "bar" }, search, status, sort, columns, h("label", {}, archived, " archived"), count),
    actions, table)));

  function body(size) {
    const wanted = { size, scroll_id: null, order_by: [sort.value], include_subprojects: true, search_hidden: false,
      only_fields: ["name", "status", "tags", "system_tags", "project.name", "user.name", "started", "last_update", "last_iteration", "active_duration", "type", ...(columns.value ? ["last_metrics", "hyperparams"] : [])],
      system_tags: archived.checked ? ["archived"] : ["__$not", "archived", "__$not", "dataset"] };
    if (project && project !== "*") wanted.project = [project];
    if (status.value) wanted.status = [status.value];
    if (search.value) wanted._any_ = { fields: ["id", "name", "tags", "comment"], pattern: search.value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") };
    return wanted;
  }

  const extra = () => columns.value.split(",").map((name) => name.trim()).filter(Boolean);

  async function load() {
    const mine = (asked += 1);
    const answer = await call("tasks.get_all_ex", body(PAGE));
    if (mine !== asked) return; // another question was asked meanwhile
    await live(answer.tasks);
    list?.close();
    list = null;
    [scroll, more, total, shown] = [answer.scroll_id, answer.tasks.length === PAGE, answer.tasks.length, ""];
    drawActions();
    told();
    if (!total) return show(table, h("p", { class: "soft" }, "No run here. Start one with ", h("code", {}, "stepwise train --track clearml"), "."));
    list = pagedTable(table, header(extra()), (task) => row(task, states[task.id], extra()), loadMore);
    list.add(answer.tasks);
  }

  async function loadMore() {
    if (!more || loading) return;
    loading = true;
    const mine = asked;
    try {
      const answer = await call("tasks.get_all_ex", { ...body(PAGE), scroll_id: scroll });
      if (mine !== asked) return;
      await live(answer.tasks);
      [scroll, more, total] = [answer.scroll_id, answer.tasks.length === PAGE, total + answer.tasks.length];
      loading = false;
      told();
      if (answer.tasks.length) list.add(answer.tasks);
    } finally { loading = false; }
  }

  // What is seen is asked again; at the top of the table, new runs come in.
  async function refresh() {
    if (document.hidden) return;
    if (!list || !more && total < PAGE) {
      const mine = asked;
      const answer = await call("tasks.get_all_ex", body(PAGE));
      await live(answer.tasks);
      if (mine !== asked) return;
      const news = fingerprint(answer.tasks);
      if (list && news === shown) return;
      if (!list || answer.tasks.length !== total) return load();
      shown = news;
      return list.update(answer.tasks);
    }
    const mine = asked;
    const top = scrollY < 200;
    const ids = list.visible().map((task) => task.id);
    const answer = await call("tasks.get_all_ex", top ? body(PAGE) : { ...body(PAGE), id: ids, size: ids.length });
    await live(answer.tasks);
    const news = fingerprint(answer.tasks);
    if (mine !== asked || news === shown) return;
    shown = news;
    list.update(answer.tasks, top);
  }

  // Nothing is drawn again, and no focus is lost, as long as this stays the same.
  const fingerprint = (tasks) => JSON.stringify([tasks, tasks.map((task) => states[task.id]?.state), Math.floor(Date.now() / 60000)]);

  async function live(tasks) {
    const running = tasks.filter((task) => task.status === "in_progress").map((task) => task.id);
    const found = running.length ? (await call("stepwise.run_states", { tasks: running })).states : [];
    for (const each of found) states[each.task] = each;
  }

  function told() { count.textContent = `${total}${more ? "+" : ""} runs`; }

  function header(names) {
    return h("thead", {}, h("tr", {}, h("th", {}), h("th", {}, "Name"), h("th", {}, "Status"), names.map((name) => h("th", { class: "number" }, name)),
      h("th", { class: "wide" }, "Project"), h("th", { class: "number wide" }, "Iteration"), h("th", { class: "number wide" }, "Time"), h("th", {}, "Updated")));
  }

  function row(task, run, extra) {
    const box = h("input", { type: "checkbox", checked: chosen.has(task.id), "data-key": `${task.id}/box`, "aria-label": `Select ${task.name}`,
      onchange: () => { box.checked ? chosen.add(task.id) : chosen.delete(task.id); drawActions(); } });
    return h("tr", {}, h("td", {}, box),
      h("td", {}, h("a", { href: `/projects/${task.project?.id ?? "*"}/tasks/${task.id}`, "data-key": `${task.id}/name` }, task.name), " ", tags(task)),
      h("td", {}, state(task, run)), extra.map((name) => h("td", { class: "number" }, number(cell(task, name)))),
      h("td", { class: "wide" }, task.project?.name ?? ""), h("td", { class: "number wide" }, number(task.last_iteration)),
      h("td", { class: "number wide" }, duration(task.active_duration)), h("td", { class: "soft", title: task.last_update }, ago(task.last_update)));
  }

  function drawActions() {
    if (!chosen.size) return show(actions);
    const ids = [...chosen];
    show(actions, h("span", { class: "bar" }, h("b", {}, `${ids.length} selected`),
      h("button", { class: "main", disabled: ids.length < 2 || ids.length > 20, onclick: () => go(`/compare?ids=${ids.join(",")}`) }, "Compare"),
      writes && [h("button", { onclick: () => many(archived.checked ? "tasks.unarchive_many" : "tasks.archive_many", ids) }, archived.checked ? "Restore" : "Archive"),
        h("button", { onclick: () => addTag(ids) }, "Tag"),
        h("button", { class: "bad", onclick: () => confirm(`Delete ${ids.length} runs for ever, with their files?`) && many("tasks.delete_many", ids, { force: true }) }, "Delete")],
      h("button", { onclick: () => { chosen.clear(); list?.redraw(); drawActions(); } }, "Clear")));
  }

  async function many(endpoint, ids, options = {}) {
    const { succeeded, failed } = await call(endpoint, { ids, ...options });
    for (const each of failed) notice(each.error.msg, true);
    const back = { "tasks.archive_many": "tasks.unarchive_many", "tasks.unarchive_many": "tasks.archive_many" }[endpoint];
    const done = { "tasks.archive_many": "archived", "tasks.unarchive_many": "restored" }[endpoint] ?? "deleted";
    if (succeeded.length) notice(`${succeeded.length} ${done}`, false, back ? ["Undo", () => many(back, succeeded.map((each) => each.id))] : []);
    chosen.clear();
    await load();
  }

  async function addTag(ids) {
    const tag = prompt("Tag");
    if (!tag) return;
    await call("tasks.update_tags", { ids, add_tags: [tag] });
    await load();
  }

  await Promise.all([load(), projects(tree, project)]);
  const timer = setInterval(() => refresh().catch(() => {}), EVERY);
  return () => { clearInterval(timer); list?.close(); };
}

async function projects(tree, current) {
  const { projects } = await call("projects.get_all_ex", { order_by: ["name"], page_size: 500, only_fields: ["name", "basename"], include_stats: true, stats_for_state: "active" });
  const entry = (id, name, depth, total) => h("a", { href: `/projects/${id}`, style: `padding-left: ${0.5 + depth}rem`, "aria-current": (current ?? "*") === id ? "page" : null },
    name, " ", h("span", { class: "soft" }, total ?? ""));
  show(tree, entry("*", "All projects", 0), projects.map((each) => entry(each.id, each.basename, each.name.split("/").length - 1, each.stats?.active?.total_tasks || "")));
}

// A column is `metric/variant` (the last value) or `Section/parameter`.
function cell(task, name) {
  const [group, ...rest] = name.split("/");
  const wanted = rest.join("/");
  for (const variants of Object.values(task.last_metrics ?? {}))
    for (const each of Object.values(variants))
      if (each.metric === group && each.variant === wanted) return each.value;
  return task.hyperparams?.[group]?.[wanted]?.value ?? "";
}

function select(values, current, none, changed) {
  const element = h("select", { "aria-label": none, onchange: () => changed(element.value) },
    values.map((value) => h("option", { value, selected: value === (current ?? "") }, value.replace("_", " ") || none)));
  return element;
}

function later(action) {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(action, 250); };
}
