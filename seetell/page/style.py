"""How pages look, and the little that they do: the style sheet and the script that filters cards."""

from __future__ import annotations

from seetell.page.plot import DASHES

_LINES = "".join(
    f".s{at}{{stroke:var(--s{at})}}.d{at}{{stroke-dasharray:{dash or 'none'}}}" for at, dash in enumerate(DASHES)
)

STYLE = (
    """
:root{color-scheme:light dark;--ground:#fcfcfa;--ink:#1d2125;--soft:#5c6670;--rule:#dcdfe3;--raised:#fff;--link:#0072b2;
--right:#00734f;--wrong:#b03a00;--s0:#0072b2;--s1:#d55e00;--s2:#00916a;--s3:#b3538a;--s4:#8a6d00;--s5:#3d8fc4}
@media (prefers-color-scheme:dark){:root{--ground:#14171a;--ink:#e6e8ea;--soft:#9aa4ae;--rule:#333a41;--raised:#1c2024;
--link:#56b4e9;--right:#3fcf9f;--wrong:#ff9d5c;--s0:#56b4e9;--s1:#ff8c42;--s2:#2fc99a;--s3:#e79ac4;--s4:#f0e442;--s5:#8ec7ee}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif;
-webkit-text-size-adjust:100%}
main{max-width:1080px;margin:0 auto;padding:2.5rem 1.25rem 5rem;overflow-wrap:break-word}
h1{font-size:1.9rem;line-height:1.2;letter-spacing:-.01em;margin:0 0 1.5rem}
h2{font-size:1.25rem;margin:2.75rem 0 .75rem;padding-top:1rem;border-top:1px solid var(--rule)}
p{max-width:68ch;margin:.6rem 0}
a{color:var(--link)}
summary{cursor:pointer;color:var(--link)}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.95rem}
th,td{padding:.4rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
th:first-child,td:first-child{padding-left:0}
th{color:var(--soft);font-weight:600}
tbody th{color:inherit;font-weight:400}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th.number{white-space:normal}
.long{overflow-wrap:anywhere;min-width:9em}
tbody tr:hover{background:color-mix(in srgb,var(--link) 7%,transparent)}
.bars{width:100%;max-width:640px}
.bars td,.bars th{padding-top:.15rem;padding-bottom:.15rem;border:0;vertical-align:middle}
.bars .bar{width:60%;padding-right:0}
.bar i{display:block;height:.8em;min-width:1px;background:var(--s0);border-radius:0 3px 3px 0}
figure{margin:0;display:flex;flex-direction:column}
.plots{display:grid;gap:1.75rem 2rem;margin:1.25rem 0;
grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr))}
figcaption{font-weight:600;margin-bottom:.35rem}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.25rem;margin:0 0 .35rem;padding:0;
font-size:.9rem;color:var(--soft)}
.legend svg{width:28px;height:8px;margin-right:.45rem}
.plot{margin-top:auto;color:var(--soft);font-size:13px;line-height:1.2;font-variant-numeric:tabular-nums}
.frame{position:relative;height:200px;margin:.6rem 1.5rem 1.6rem 4rem}
.frame svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible}
.frame span{position:absolute;white-space:nowrap}
.frame .y{right:100%;margin-right:.5rem;transform:translateY(50%)}
.frame .x{top:100%;margin-top:.4rem;transform:translateX(-50%)}
.rule{position:absolute;left:0;right:0;border-top:1px solid var(--rule)}
.along{display:block;text-align:center;margin-left:2.5rem}
.series{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round;vector-effect:non-scaling-stroke}
.series.faint{stroke:var(--soft);stroke-width:1;opacity:.6}
img{max-width:100%;image-rendering:auto;border-radius:6px}
.picture figcaption{font-weight:400;color:var(--soft);font-size:.9rem}
.terms{display:grid;grid-template-columns:max-content 1fr;max-width:68ch;font-size:.95rem}
.cards label{font-size:.95rem;color:var(--soft)}
.cards output{margin-left:.6rem;color:var(--soft);font-size:.9rem;font-variant-numeric:tabular-nums}
.cards input{width:12rem;max-width:45%}
input{font:inherit;color:inherit;padding:.3rem .6rem;
background:var(--raised);border:1px solid var(--rule);border-radius:6px}
input:focus-visible{outline:2px solid var(--link);outline-offset:1px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,230px),1fr));gap:1rem;margin-top:1rem}
article{background:var(--raised);border:1px solid var(--rule);border-radius:10px;padding:.85rem;break-inside:avoid;
min-width:0}
article[hidden]{display:none}
article img{width:100%;display:block;margin-bottom:.6rem}
article details{font-size:.92rem;margin-top:.5rem}
article details p{white-space:pre-line;overflow-wrap:anywhere;color:var(--soft)}
.seen{position:relative;overflow:hidden;margin-bottom:.6rem;border-radius:6px}
.seen img{margin:0}
.seen svg{position:absolute;inset:0;width:100%;height:100%}
.seen rect{fill:transparent;stroke:var(--b);stroke-width:2;vector-effect:non-scaling-stroke}
.seen rect:hover{fill:color-mix(in srgb,var(--b) 30%,transparent)}
.seen span{position:absolute;max-width:100%;padding:0 .3em;font-size:11px;line-height:1.35;pointer-events:none;
color:#fff;background:#000b;border-left:3px solid var(--b);white-space:nowrap}
.b0{--b:#e69f00}.b1{--b:#56b4e9}.b2{--b:#009e73}.b3{--b:#f0e442}.b4{--b:#0072b2}.b5{--b:#d55e00}.b6{--b:#cc79a7}
h3{font-size:1rem;margin:.1rem 0 .4rem;overflow-wrap:anywhere}
dl{margin:0;font-size:.92rem;display:grid;grid-template-columns:auto 1fr;gap:.15rem .7rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.about{grid-column:1/-1;color:inherit;margin-top:.5rem}
.right{color:var(--right)}.wrong{color:var(--wrong)}
@media (max-width:600px){
main{padding:1.5rem 1.25rem 3rem}
table{font-size:13px}
th{font-size:11.5px}
tbody th{font-size:13px}
th,td{padding-left:.2rem;padding-right:.2rem}
th:last-child,td:last-child{padding-right:0}
.bars .bar{width:45%}
.frame{margin-left:3.4rem}
.stacked,.stacked tbody,.stacked tr{display:block;width:100%}
.stacked thead{display:none}
.stacked tr{padding:.4rem 0;border-bottom:1px solid var(--rule)}
.stacked td{display:grid;grid-template-columns:minmax(7em,40%) 1fr;gap:.7rem;padding:.1rem 0;border:0;text-align:left;
white-space:normal;overflow-wrap:anywhere;min-width:0}
.stacked td::before{content:attr(data-of);color:var(--soft);font-weight:600}
.stacked td:first-child{display:block;font-weight:600}
.stacked td:first-child::before{content:none}
.stacked td:empty{display:none}
}
@media print{.cards label,.cards output{display:none}}
"""
    + _LINES
)

SCRIPT = """
for (const section of document.querySelectorAll(".cards")) {
  const cards = [...section.querySelectorAll("article")], output = section.querySelector("output");
  section.querySelector("input")?.addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const text = card.textContent.toLowerCase();
      card.hidden = !words.every((word) => text.includes(word));
      shown += !card.hidden;
    }
    output.value = `${shown} of ${cards.length}`;
  });
}
"""
