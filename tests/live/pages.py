"""Pages with holes, for real browsers. `/open/NAME/GATE` lets a block of the page NAME go on."""

import threading
from collections import defaultdict

import flask

from unspool.flask import stream_template_string
from unspool.templates import SCRIPT_HASH

app = flask.Flask(__name__)
app.jinja_env.add_extension("unspool.templates.Streaming")

gates = defaultdict(threading.Event)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
{% defer title %}{{ wait("title") }}<title>Late</title>{% placeholder %}<title>Shell</title>{% enddefer %}
{% defer late_title %}{{ wait("head") }}<meta name="late" content="yes">{% placeholder %}<meta name="late" content="no">{% enddefer %}
<style>body { font-family: sans-serif }</style></head>
<body><h1>The shell</h1>
{% defer a %}{{ wait("a") }}<p id="a">A is here</p><script>window.ran = (window.ran || 0) + 1</script>
{%- placeholder %}<p id="a">A comes</p>{% enddefer %}
{% defer b %}{{ wait("b") }}<p id="b">B is here</p>{% placeholder %}<p id="b">B comes</p>{% enddefer %}
<table><thead><tr><th>n</th></tr></thead><tbody>
{% for n in range(3) %}{% defer row %}{{ wait("rows") }}<tr><td>row {{ loop.index }}</td></tr>
{%- placeholder %}<tr><td>…</td></tr>{% enddefer %}{% endfor %}</tbody></table>
<ul id="list"><li>first</li>{% defer items %}{{ wait("list") }}<li>late</li>{% placeholder %}<li>…</li>{% enddefer %}</ul>
<form id="form"><select name="choice">{% defer options %}{{ wait("select") }}<option>x<option selected>y
{%- placeholder %}<option>…</option>{% enddefer %}</select>
<fieldset>{% defer field %}{{ wait("field") }}<input name="late" value="v">{% placeholder %}<input name="late" value="…">{% enddefer %}</fieldset></form>
{% defer outer %}{{ wait("outer") }}<div id="outer">outer {% defer inner %}{{ wait("inner") }}<i id="inner">inner</i>
{%- placeholder %}<i id="inner">…</i>{% enddefer %}</div>{% placeholder %}<div id="outer">…</div>{% enddefer %}
<div id="failing">{% defer failing %}{{ wait("failing") }}{{ 1 // 0 }}{% error e %}<b>failed: {{ e }}</b>{% enddefer %}</div>
<ol id="log">{% live log() as line %}<li>{{ line }}</li>{% endlive %}</ol>
<div id="markup">{{ '<?start name="aaaa">not a hole<?end>' }}</div>
<footer>The footer</footer>
</body></html>
"""

CSP = {
    "none": "script-src 'none'",
    "hash": f"script-src '{SCRIPT_HASH}'; require-trusted-types-for 'script'",
}


@app.get("/page/<name>")
def page(name):
    def wait(gate):
        gates[name, gate].wait(120)
        return ""

    def log():
        for n in range(3):
            wait(f"log{n}")
            yield f"line {n} & more"

    html = stream_template_string(PAGE, wait=wait, log=log)
    return html, {"Content-Security-Policy": CSP.get(flask.request.args.get("csp"), "")}


@app.get("/open/<name>/<gate>")
def open_gate(name, gate):
    gates[name, gate].set()
    return "open"
