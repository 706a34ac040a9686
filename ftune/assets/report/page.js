"use strict";
(() => {
  const found = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const make = (tag, kind, text) => {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // Colours are asked of the styles, since a canvas knows no variables.
  const colour = (name) => {
    const probe = make("i");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  };
  const see = (rgb, share) => rgb.replace("rgb(", "rgba(").replace(")", `, ${share})`);

  const short = (value, unit) => {
    if (value === null || value === undefined) return "–";
    if (unit === "bytes") {
      const power = Math.min(4, Math.floor(Math.log10(Math.max(1, value)) / 3));
      return `${+(value / 1000 ** power).toPrecision(3)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
    }
    const size = Math.abs(value);
    if (size && (size < 1e-3 || size >= 1e9)) return value.toExponential(2);
    return size >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(4));
  };

  let charts = [];
  const drawChart = (chart, room) => {
    const box = make("div", "chart");
    box.append(make("h3", "", chart.title));
    room.append(box);
    const steps = [...new Set(chart.lines.flatMap((line) => line.x))].sort((a, b) => a - b);
    const place = new Map(steps.map((step, i) => [step, i]));
    const columns = chart.lines.map((line) => {
      const column = new Array(steps.length).fill(undefined);
      line.x.forEach((step, i) => { column[place.get(step)] = line.y[i]; });
      return column;
    });
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 },
      ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const lines = chart.lines.map((line) => {
      const ink = colour(line.colour);
      return { label: line.label, stroke: line.faint ? see(ink, 0.3) : ink,
        width: line.faint ? 1 : 2, spanGaps: true,
        points: { show: line.x.length < 40, size: 5, fill: ink },
        value: (_, value) => short(value, chart.unit) };
    });
    const plot = new uPlot({
      width: Math.max(200, box.clientWidth), height: charts.length ? 170 : 270,
      scales: { x: { time: false, ...(steps.length === 1 && { range: [steps[0] - 1, steps[0] + 1] }) } },
      cursor: { sync: { key: "steps", scales: ["x", null] }, drag: { x: true, y: false } },
      series: [{ label: "step", value: (_, value) => short(value) }, ...lines],
      axes: [{ ...axis, incrs: [1, 2, 5].flatMap((n) => [...Array(10).keys()].map((e) => n * 10 ** e)).sort((a, b) => a - b) }, { ...axis, size: 62, values: (_, all) => all.map((v) => short(v, chart.unit)) }],
    }, [steps, ...columns], box);
    charts.push(plot);
  };
  const drawCharts = () => {
    const room = at("charts");
    if (!room) return;
    charts.forEach((plot) => plot.destroy());
    charts = [];
    room.replaceChildren();
    found.charts.forEach((chart) => drawChart(chart, room));
  };
  const whole = at("whole");
  if (whole) {
    whole.onclick = () => charts.forEach((plot) => {
      const steps = plot.data[0];
      const one = steps.length === 1;
      plot.setScale("x", { min: steps[0] - one, max: steps[steps.length - 1] + one });
    });
  }

  // Words that one text has and the other has not, by their longest common sequence.
  const parts = (text) => text.match(/\s+|[^\s]+/g) || [];
  const common = (a, b) => {
    const wide = b.length + 1;
    const best = new Uint16Array((a.length + 1) * wide);
    for (let i = a.length - 1; i >= 0; i--) {
      for (let j = b.length - 1; j >= 0; j--) {
        best[i * wide + j] = a[i] === b[j] ? best[(i + 1) * wide + j + 1] + 1
          : Math.max(best[(i + 1) * wide + j], best[i * wide + j + 1]);
      }
    }
    const left = new Set(), right = new Set();
    for (let i = 0, j = 0; i < a.length && j < b.length;) {
      if (a[i] === b[j]) { left.add(i++); right.add(j++); }
      else if (best[(i + 1) * wide + j] >= best[i * wide + j + 1]) i++;
      else j++;
    }
    return [left, right];
  };
  const marked = (pieces, kept, kind) => {
    const box = make("div", "said");
    pieces.forEach((piece, i) => {
      const plain = !kept || kept.has(i) || !piece.trim();
      box.append(plain ? document.createTextNode(piece) : make("span", kind, piece));
    });
    if (!pieces.length) box.append(make("span", "quiet", "(empty)"));
    return box;
  };
  const answer = (title, body) => {
    const box = make("div", "answer");
    box.append(make("h4", "", title), body);
    return box;
  };
  const card = (one) => {
    const box = make("article", "prediction");
    const row = one.row ? ` row ${one.row}` : "";
    box.append(make("h3", "quiet", `${one.source}${row}`), make("div", "prompt", one.prompt));
    const room = make("div", "answers");
    const reference = one.references.length ? parts(one.references[0]) : null;
    const after = one.tuned === null ? null : parts(one.tuned);
    const [left, right] = reference && after ? common(after, reference) : [null, null];
    if (one.base !== null) room.append(answer("before", marked(parts(one.base), null, "")));
    if (after) room.append(answer("after", marked(after, left, "extra")));
    one.references.forEach((text, i) => room.append(answer(
      one.references.length > 1 ? `reference ${i + 1}` : "reference",
      i ? marked(parts(text), null, "") : marked(reference, right, "missing"))));
    box.append(room);
    return box;
  };

  const COUNT = 10;
  let page = 0;
  const showPredictions = () => {
    const room = at("predictions");
    if (!room) return;
    const wanted = at("search").value.toLowerCase();
    const differing = at("differing").checked;
    const shown = found.predictions.filter((one) => {
      const texts = [one.source, one.prompt, one.base, one.tuned, ...one.references];
      const right = one.references.some((text) => text.trim() === (one.tuned || "").trim());
      return texts.some((text) => text && text.toLowerCase().includes(wanted)) && !(differing && right);
    });
    const pages = Math.max(1, Math.ceil(shown.length / COUNT));
    page = Math.min(Math.max(0, page), pages - 1);
    room.replaceChildren(...shown.slice(page * COUNT, (page + 1) * COUNT).map(card));
    at("found").textContent = `${shown.length} of ${found.predictions.length}`;
    at("where").textContent = `page ${page + 1} of ${pages}`;
    at("back").disabled = page === 0;
    at("on").disabled = page === pages - 1;
  };
  if (at("predictions")) {
    const fresh = () => { page = 0; showPredictions(); };
    at("search").oninput = fresh;
    at("differing").onchange = fresh;
    at("back").onclick = () => { page--; showPredictions(); };
    at("on").onclick = () => { page++; showPredictions(); };
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  at("theme").onclick = () => {
    const root = document.documentElement;
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    drawCharts();
  };
  dark.onchange = drawCharts;
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawCharts, 150); });
  drawCharts();
  showPredictions();
})();
