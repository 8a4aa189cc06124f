// The explorer: one point per pair of languages, for the distance, outcome, layer and source that the reader chooses.
(() => {
  const holder = document.getElementById("explorer-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const root = document.getElementById("explorer");
  const names = new Intl.DisplayNames(["en"], { type: "language" });
  const language = (code) => { try { const name = names.of(code.replace("_", "-")); return name === code ? code : `${name} (${code})`; } catch { return code; } };
  const number = (value) => value === null || Number.isNaN(value) ? "–" : Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(3).replace(/^(-?)0\./, "$1.");
  const select = (key) => root.querySelector(`[data-choice="${key}"]`);
  const fill = (key, options) => select(key).append(...options.map(([value, text]) => new Option(text, value)));
  const quantities = Object.entries(data.labels);
  const layers = Object.keys(data.impact);
  fill("x", quantities);
  fill("y", quantities);
  fill("layer", layers.map((label) => [label, label === "mean" ? "mean over layers" : String(Number(label))]));
  fill("source", [["", "all"], ...[...new Set(data.pairs.map((pair) => pair[0]))].map((code) => [code, language(code)])]);
  const has = (name) => name in data.labels;
  select("x").value = has("syntactic") ? "syntactic" : quantities[0][0];
  select("y").value = has("impact") ? "impact" : quantities.at(-1)[0];
  select("layer").value = layers.includes("mean") ? "mean" : layers[0] ?? "";

  const valuesOf = (name, layer) => name === "impact" ? data.impact[layer].value : data.values[name];
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  // takes the averages of every source and every target out, in turn until nothing changes
  const freed = (points, key) => {
    let left = points.map((point) => point[key]);
    for (let round = 0; round < 200; round += 1) {
      let largest = 0;
      for (const side of ["source", "target"]) {
        const groups = Map.groupBy(points.keys(), (i) => points[i][side]);
        for (const members of groups.values()) {
          const average = mean(members.map((i) => left[i]));
          largest = Math.max(largest, Math.abs(average));
          for (const i of members) left[i] -= average;
        }
      }
      if (largest < 1e-12) break;
    }
    return left;
  };

  const correlate = (x, y) => {
    const [mx, my] = [mean(x), mean(y)];
    let [xy, xx, yy] = [0, 0, 0];
    x.forEach((value, i) => { xy += (value - mx) * (y[i] - my); xx += (value - mx) ** 2; yy += (y[i] - my) ** 2; });
    return { r: xx > 1e-18 && yy > 1e-18 ? xy / Math.sqrt(xx * yy) : NaN, slope: xy / xx, mx, my };
  };

  const svg = (name, attributes, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };

  const ticks = (low, high) => {
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const first = Math.ceil(low / step) * step;
    return Array.from({ length: Math.floor((high - first) / step + 1e-9) + 1 }, (_, i) => first + i * step);
  };

  const draw = () => {
    const [x, y, layer, source] = ["x", "y", "layer", "source"].map((key) => select(key).value);
    const isFreed = select("freed").checked && !source;
    const [xs, ys] = [valuesOf(x, layer), valuesOf(y, layer)];
    const points = data.pairs.map(([from, to], i) => ({ source: from, target: to, x: xs[i], y: ys[i], i }))
      .filter((point) => point.x !== null && point.y !== null && (!source || point.source === source));
    if (isFreed) for (const key of ["x", "y"]) freed(points, key).forEach((value, i) => { points[i][`${key}_freed`] = value; });
    const [px, py] = isFreed ? ["x_freed", "y_freed"] : ["x", "y"];
    const plot = root.querySelector("svg");
    plot.replaceChildren();
    const said = root.querySelector("[data-said]");
    if (points.length < 3) { said.textContent = `${points.length} pairs: nothing to draw.`; return; }
    const width = Math.min(800, Math.max(300, plot.clientWidth || 640));  // as wide as it is shown: letters keep their size
    const [height, edge] = [width < 500 ? 300 : 400, { left: 62, right: 14, top: 12, bottom: 46 }];
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const range = (key) => { const all = points.map((point) => point[key]); const [low, high] = [Math.min(...all), Math.max(...all)]; const pad = (high - low || 1) * 0.05; return [low - pad, high + pad]; };
    const [[x0, x1], [y0, y1]] = [range(px), range(py)];
    const sx = (value) => edge.left + (value - x0) / (x1 - x0) * (width - edge.left - edge.right);
    const sy = (value) => height - edge.bottom - (value - y0) / (y1 - y0) * (height - edge.top - edge.bottom);
    for (const tick of ticks(x0, x1)) plot.append(svg("line", { x1: sx(tick), x2: sx(tick), y1: edge.top, y2: height - edge.bottom, class: "grid" }), svg("text", { x: sx(tick), y: height - edge.bottom + 16, "text-anchor": "middle" }, number(tick)));
    for (const tick of ticks(y0, y1)) plot.append(svg("line", { x1: edge.left, x2: width - edge.right, y1: sy(tick), y2: sy(tick), class: "grid" }), svg("text", { x: edge.left - 6, y: sy(tick) + 4, "text-anchor": "end" }, number(tick)));
    const title = (name) => `${data.labels[name]}${name === "impact" ? `, ${layer === "mean" ? "mean over layers" : `layer ${Number(layer)}`}` : ""}${isFreed ? ", effects removed" : ""}`;
    plot.append(svg("text", { x: (edge.left + width - edge.right) / 2, y: height - 8, "text-anchor": "middle", class: "title" }, title(x)));
    plot.append(svg("text", { transform: `translate(14 ${(height - edge.bottom + edge.top) / 2}) rotate(-90)`, "text-anchor": "middle", class: "title" }, title(y)));
    const { r, slope, mx, my } = correlate(points.map((point) => point[px]), points.map((point) => point[py]));
    if (!Number.isNaN(r)) plot.append(svg("line", { x1: sx(x0), x2: sx(x1), y1: sy(my + slope * (x0 - mx)), y2: sy(my + slope * (x1 - mx)), class: "fit" }));
    const told = root.querySelector("[data-told]");
    for (const point of points) {
      const bounds = data.impact[layer] && [x, y].includes("impact") ? [data.impact[layer].low[point.i], data.impact[layer].high[point.i]] : [null, null];
      const words = `${language(point.source)} → ${language(point.target)}: ${data.labels[x]} ${number(point.x)}, ${data.labels[y]} ${number(point.y)}`
        + (bounds[0] === null ? "" : `; 95 % interval of impact ${number(bounds[0])} to ${number(bounds[1])}`);
      const circle = svg("circle", { cx: sx(point[px]), cy: sy(point[py]), r: 4, tabindex: points.length <= 60 ? 0 : -1 });
      circle.append(svg("title", {}, words));
      for (const event of ["mouseenter", "focus"]) circle.addEventListener(event, () => { told.textContent = words; });
      plot.append(circle);
    }
    const test = data.tests[`${x}|${y}|${y === "impact" || x === "impact" ? layer : ""}`];
    const tested = test && !source && test[0] !== null ? ` The report's main coefficient: ${number(test[0])}${test[1] === null ? "" : ` (95 % interval ${number(test[1])} to ${number(test[2])})`}${test[3] === null ? "" : `, family-wise p ${test[3] < 0.001 ? "< .001" : `= ${number(test[3])}`}`}.` : "";
    said.textContent = `r = ${number(r)} over ${points.length} pairs${source ? ` from ${language(source)}` : ""}${isFreed ? ", source and target effects removed" : ""}.${tested}`;
    told.textContent = "Point at a pair to read its values.";
  };
  root.hidden = false;
  root.addEventListener("change", draw);
  addEventListener("resize", draw);
  draw();
})();
