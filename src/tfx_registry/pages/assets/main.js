// Puts the parts to work; what is addressed by the part behind "#" comes back with the back button.

function follow() {
  const [name, value] = location.hash.slice(1).split("=");
  if (name === "version") showVersion(Number(value));
  else $("detail").hidden = true;
  if (name === "lineage" && value) {
    showLineageChoice(Number(value));
    $("lineage").scrollIntoView();
  }
  if (name === "compare" && value) showComparison(...value.split(",").map(Number));
}

for (const node of document.querySelectorAll(".js")) node.hidden = false;
startMetrics();
drawTimelineLegend();
if (series.length) drawMetricLegend();
range.redraw.unshift(drawTimeline);
startRange();
startVersions();
startCompare();
startLineage();
startHistory();
$("download-all").addEventListener("click", () => download(`${doc.model}.json`, doc));
$("download-history").addEventListener("click", () =>
  download(`${doc.model}-history.json`, filteredHistory().reverse()));
addEventListener("hashchange", follow);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  for (const draw of range.redraw) draw();
});
if (location.hash) follow();
performance.mark("ready");
document.documentElement.dataset.ready = "yes";
