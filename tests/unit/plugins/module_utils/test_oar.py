# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resources of an OAR cluster: what is declared for which nodes."""

from __future__ import annotations

import json

import pytest

from ansible_collections.our.cloud.plugins.module_utils._oar import oar

# Two sockets of two cores with two threads each, as Linux counts them.
BIG = "# CPU,Core,Socket\n0,0,0\n1,1,0\n2,2,1\n3,3,1\n4,0,0\n5,1,0\n6,2,1\n7,3,1\n"
SMALL = "0,0,0\n1,1,0\n"
KNOWN = ("host", "cpu", "core", "cpuset")


def resource(number, node, cpu, core, cpuset, state="Alive", **more):
    return {"resource_id": number, "network_address": node, "type": "default", "cpu": cpu, "core": core, "cpuset": cpuset, "state": state,
            "next_state": "UnChanged", **more}


def commands(nodes, resources, properties=KNOWN):
    return [" ".join(command) for command in oar.plan(nodes, resources, properties).commands]


def test_threads_of_a_core_are_one():
    assert oar.cores("milhouse", BIG) == [oar.Core(0, "0+4"), oar.Core(0, "1+5"), oar.Core(1, "2+6"), oar.Core(1, "3+7")]


def test_a_machine_that_tells_little():
    """What is not known is not equal."""
    assert oar.cores("milhouse", "0,,\n") == [oar.Core(0, "0")]
    assert oar.cores("milhouse", "0,,\n1,,\n2,0,0\n3,0,0\n") == [oar.Core(0, "2+3"), oar.Core(0, "0"), oar.Core(0, "1")]


@pytest.mark.parametrize("text, said", [
    ("", "Node milhouse: lscpu names no CPU"),
    ("0,0,0\nlscpu: failed\n", "Node milhouse: lscpu says 'lscpu: failed', which is no line of CPU,CORE,SOCKET"),
])
def test_what_lscpu_does_not_say(text, said):
    with pytest.raises(oar.OarError) as error:
        oar.cores("milhouse", text)
    assert str(error.value) == said


def test_a_first_run():
    plan = oar.plan({"milhouse": oar.cores("milhouse", BIG), "rod": oar.cores("rod", "0,0,0\n")}, [], ["cpuset"])
    assert [" ".join(command) for command in plan.commands] == [
        "oarproperty --add host -c", "oarproperty --add cpu", "oarproperty --add core",
        "oarnodesetting -a -h milhouse -p host=milhouse -p cpu=1 -p core=1 -p cpuset=0+4",
        "oarnodesetting -a -h milhouse -p host=milhouse -p cpu=1 -p core=2 -p cpuset=1+5",
        "oarnodesetting -a -h milhouse -p host=milhouse -p cpu=2 -p core=3 -p cpuset=2+6",
        "oarnodesetting -a -h milhouse -p host=milhouse -p cpu=2 -p core=4 -p cpuset=3+7",
        "oarnodesetting -a -h rod -p host=rod -p cpu=3 -p core=5 -p cpuset=0"]
    assert plan.before == []
    assert plan.after[0] == "milhouse cpu 1 core 1 cpuset 0+4 Alive"


def test_a_second_run():
    plan = oar.plan({"milhouse": oar.cores("milhouse", SMALL)}, [resource(1, "milhouse", 1, 1, "0"), resource(2, "milhouse", 1, 2, "1")], KNOWN)
    assert plan.commands == [] and plan.before == plan.after


def test_a_node_that_has_grown_keeps_its_cpu():
    assert commands({"milhouse": oar.cores("milhouse", SMALL)}, [resource(7, "milhouse", 4, 9, "0")]) == [
        "oarnodesetting -a -h milhouse -p host=milhouse -p cpu=4 -p core=10 -p cpuset=1"]


def test_what_is_gone_is_dead():
    resources = [resource(1, "milhouse", 1, 1, "0"), resource(2, "milhouse", 1, 2, "1"), resource(3, "rod", 2, 3, "0"), resource(4, "todd", 3, 4, "0", "Dead")]
    for order in (resources, resources[::-1]):
        assert commands({"milhouse": oar.cores("milhouse", "0,0,0\n")}, order) == ["oarnodesetting -r 2 -s Dead", "oarnodesetting -r 3 -s Dead"]


def test_what_is_back_is_alive_and_what_is_absent_stays_so():
    resources = [resource(1, "milhouse", 1, 1, "0", "Alive", next_state="Dead"), resource(2, "milhouse", 1, 2, "1", "Absent"),
                 resource(3, "rod", 2, 3, "0", "Suspected")]
    nodes = {"milhouse": oar.cores("milhouse", SMALL), "rod": oar.cores("rod", "0,0,0\n")}
    assert commands(nodes, resources) == ["oarnodesetting -r 1 -s Alive", "oarnodesetting -r 3 -s Alive"]


def test_a_node_that_was_not_looked_at_and_resources_of_others_stay():
    licence = {"resource_id": 9, "network_address": "", "type": "licence", "state": "Alive"}
    assert commands({"milhouse": None}, [resource(1, "milhouse", 1, 1, "0", "Dead"), licence]) == []


class Server:
    """OAR's programs, in so far as they are called."""

    def __init__(self, resources):
        self.answers = {"oarnodes --json": json.dumps(resources), "oarproperty --list": "\n".join(KNOWN) + "\n"}
        self.called = []

    def __call__(self, argv):
        self.called.append(" ".join(argv))
        return self.answers.get(self.called[-1], "")


@pytest.mark.parametrize("check_mode", [True, False])
def test_ensure(check_mode):
    server = Server({"1": resource(1, "milhouse", 1, 1, "0")})
    added = "oarnodesetting -a -h milhouse -p host=milhouse -p cpu=1 -p core=2 -p cpuset=1"
    assert oar.ensure({"milhouse": SMALL}, server, check_mode) == {"changed": True, "commands": [added], "diff": {
        "before": "milhouse cpu 1 core 1 cpuset 0 Alive\n", "after": "milhouse cpu 1 core 1 cpuset 0 Alive\nmilhouse cpu 1 core 2 cpuset 1 Alive\n"}}
    assert server.called == ["oarnodes --json", "oarproperty --list"] + ([] if check_mode else [added])


@pytest.mark.parametrize("answer", ["cannot connect to the database", '["x"]', '"x"', "7", '{"1": 2}'])
def test_an_answer_that_is_none(answer):
    server = Server({})
    server.answers["oarnodes --json"] = answer + "\n"
    with pytest.raises(oar.OarError) as error:
        oar.ensure({"milhouse": SMALL}, server, False)
    assert str(error.value) == f"oarnodes does not say what resources there are, but: {answer}"


@pytest.mark.parametrize("answer", ["{}", "[]"])
def test_a_server_without_resources(answer):
    server = Server({})
    server.answers["oarnodes --json"] = answer
    assert oar.ensure({"milhouse": SMALL}, server, True)["changed"]
