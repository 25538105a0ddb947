"""NetworkPolicies allow what is needed (edges.py says what that is), at both ends, and nothing else: every edge is
allowed, and every allowance has an edge that uses it. Run by main.py on every rendering."""

import ipaddress

from edges import CLIENTS, needed
from model import called, matches, namespace


def check(rendering):
    yield from _default_deny(rendering)
    wrong, edges = needed(rendering)
    yield from wrong
    policies = rendering.of("NetworkPolicy")
    for edge in edges:
        for direction, own in (("Egress", edge.source), ("Ingress", edge.target)):
            if own.workload and not _allowed(rendering, policies, direction, edge):
                yield rendering.finding(
                    "NetworkPolicy",
                    f"missing edge: no {direction.lower()} rule of {own} allows {edge}",
                    f"add a policy with an {direction.lower()} rule for it, or remove the setting that needs it",
                )
    for policy in policies:
        yield from _unused(rendering, policy, edges)


def _default_deny(rendering):
    spaces = {workload.namespace for workload in rendering.workloads}
    for space in spaces:
        if not any(
            namespace(policy) == space
            and not policy["spec"].get("podSelector")
            and {"Ingress", "Egress"} <= set(policy["spec"].get("policyTypes") or [])
            and not policy["spec"].get("ingress")
            and not policy["spec"].get("egress")
            for policy in rendering.of("NetworkPolicy")
        ):
            yield rendering.finding(
                f"Namespace/{space}",
                "nothing denies what no policy allows",
                "add a NetworkPolicy with an empty podSelector, both policyTypes and no rules",
            )


def _for(policy, party):
    """Whether a policy is one of this party's pods."""
    return namespace(policy) == party.space and matches(
        policy["spec"].get("podSelector") or {}, dict(party.labels)
    )


def _rules(policy, direction):
    """(peers, ports) of each rule; peers are None where a rule names none, which is everybody."""
    spec = policy["spec"]
    for rule in spec.get(direction.lower()) or []:
        yield rule.get("from" if direction == "Ingress" else "to"), rule.get("ports") or [None]


def _allowed(rendering, policies, direction, edge):
    own, other = (edge.source, edge.target) if direction == "Egress" else (edge.target, edge.source)
    mine = [
        p for p in policies if _for(p, own) and direction in (p["spec"].get("policyTypes") or ["Ingress"])
    ]
    if not mine:
        return True
    return any(
        any(_peer(peer, policy, other) for peer in peers or [None])
        and any(_port(port, edge) for port in ports)
        for policy in mine
        for peers, ports in _rules(policy, direction)
    )


def _peer(peer, policy, party):
    if peer is None:
        return True
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        inside = [a for a in party.addresses if _in(a, block["cidr"])]
        return any(not any(_in(a, without) for without in block.get("except") or []) for a in inside)
    if party.space is None:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], dict(party.space_labels)):
            return False
    elif party.space != namespace(policy):
        return False
    return matches(peer.get("podSelector") or {}, dict(party.labels))


def _in(address, cidr):
    address, network = ipaddress.ip_address(address), ipaddress.ip_network(cidr)
    return address.version == network.version and address in network


def _port(port, edge):
    if port is None:
        return True
    if port.get("protocol", "TCP") != edge.protocol:
        return False
    number = port.get("port")
    if isinstance(number, str):
        return edge.target.workload is not None and edge.target.workload.port(number) == edge.port
    return number is None or number <= edge.port <= port.get("endPort", number)


def _unused(rendering, policy, edges):
    for direction in ("Ingress", "Egress"):
        rules = list(_rules(policy, direction))
        if rules and direction not in (policy["spec"].get("policyTypes") or ["Ingress"]):
            yield rendering.finding(
                called(policy), f"has {direction.lower()} rules without that policyType", f"add {direction}"
            )
        for peers, ports in rules:
            for peer in peers or [None]:
                for port in ports:
                    users = [
                        edge
                        for edge in edges
                        if _for(policy, edge.source if direction == "Egress" else edge.target)
                        and _peer(peer, policy, edge.target if direction == "Egress" else edge.source)
                        and _port(port, edge)
                    ]
                    yield from _judge(rendering, policy, direction, peer, port, users)


def _judge(rendering, policy, direction, peer, port, users):
    what = (
        f"{direction.lower()} {'from' if direction == 'Ingress' else 'to'} {_said(peer)}, {_said_port(port)}"
    )
    if not users:
        yield rendering.finding(
            called(policy),
            f"allows {what}, an edge that nothing uses",
            "remove it, or correct the selector or port",
        )
    elif port is None:
        yield rendering.finding(called(policy), f"allows {what}", "name the ports")
    everybody = peer is None or peer.get("namespaceSelector") == {}
    if everybody and direction == "Egress":
        yield rendering.finding(called(policy), f"allows {what}", "say to whom")
    everybody = everybody or peer.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "::/0")
    of_clients = {user.port for user in users if user.source == CLIENTS}
    if everybody and direction == "Ingress" and any(user.port not in of_clients for user in users):
        yield rendering.finding(
            called(policy), f"allows {what}", "only the port of clients may be open to everybody"
        )


def _said(peer):
    if peer is None:
        return "everybody"
    selected = {**(peer.get("namespaceSelector") or {}), **(peer.get("podSelector") or {})}
    return str(peer.get("ipBlock", {}).get("cidr") or selected or "everybody")


def _said_port(port):
    return f"port {port.get('port', 'any')}/{port.get('protocol', 'TCP')}" if port else "every port"
