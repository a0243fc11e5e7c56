// The lineage of one version, on a page of its own.

const only = versions[0].number;
drawLineage($("lineage-graph"), withRun(doc.lineage[only], only), true);
document.documentElement.dataset.ready = "yes";
