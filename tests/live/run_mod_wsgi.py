"""Serves an app with Apache and mod_wsgi: run_mod_wsgi.py PORT MODULE:APP daemon|embedded

Debian's module has its own Python, of the same version as ours in the main test run.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

MODULES = Path("/usr/lib/apache2/modules")

# One process, so that its threads share the app.
CONFIG = """
ServerName localhost
ServerRoot {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.log
Mutex posixsem
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
ServerLimit 1
ThreadsPerChild 16
MaxRequestWorkers 16
Listen 127.0.0.1:{port}
WSGISocketPrefix {folder}/wsgi
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / {folder}/app.wsgi
{mode}
"""

MODES = {
    "embedded": "",
    "daemon": "WSGIDaemonProcess app threads=8 home={folder}\nWSGIProcessGroup app",
}

SCRIPT = """
import sys

sys.path[:0] = {path}
from {module} import {name} as application
"""

# Apache does not serve as root. As nobody it may still read what only root can.
AS_NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups".split()
AS_NOBODY += "--inh-caps +dac_override --ambient-caps +dac_override --".split()

port, app, mode = sys.argv[1:]
module, name = app.split(":")
folder = Path(os.environ["CONTRACT_LOG"]).parent
path = [*os.environ["PYTHONPATH"].split(":"), sysconfig.get_path("purelib")]
(folder / "app.wsgi").write_text(SCRIPT.format(path=path, module=module, name=name))
mode = MODES[mode].format(folder=folder)
(folder / "apache.conf").write_text(
    CONFIG.format(folder=folder, modules=MODULES, port=port, mode=mode)
)
apache = shutil.which("apache2", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
command = [*(AS_NOBODY if os.geteuid() == 0 else ()), apache]
os.execvp(command[0], [*command, "-D", "FOREGROUND", "-f", str(folder / "apache.conf")])
