from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DefinedType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PREFIX: _ClassVar[DefinedType]
    NEIGHBOR: _ClassVar[DefinedType]
    TAG: _ClassVar[DefinedType]
    AS_PATH: _ClassVar[DefinedType]
    COMMUNITY: _ClassVar[DefinedType]

class PolicyDirection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN: _ClassVar[PolicyDirection]
    IMPORT: _ClassVar[PolicyDirection]
    EXPORT: _ClassVar[PolicyDirection]

class RouteAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NONE: _ClassVar[RouteAction]
    ACCEPT: _ClassVar[RouteAction]
    REJECT: _ClassVar[RouteAction]
PREFIX: DefinedType
NEIGHBOR: DefinedType
TAG: DefinedType
AS_PATH: DefinedType
COMMUNITY: DefinedType
UNKNOWN: PolicyDirection
IMPORT: PolicyDirection
EXPORT: PolicyDirection
NONE: RouteAction
ACCEPT: RouteAction
REJECT: RouteAction

class Family(_message.Message):
    __slots__ = ("afi", "safi")
    AFI_FIELD_NUMBER: _ClassVar[int]
    SAFI_FIELD_NUMBER: _ClassVar[int]
    afi: int
    safi: int
    def __init__(self, afi: _Optional[int] = ..., safi: _Optional[int] = ...) -> None: ...

class ListPeerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPeerResponse(_message.Message):
    __slots__ = ("peer",)
    PEER_FIELD_NUMBER: _ClassVar[int]
    peer: Peer
    def __init__(self, peer: _Optional[_Union[Peer, _Mapping]] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("conf", "afi_safis")
    CONF_FIELD_NUMBER: _ClassVar[int]
    AFI_SAFIS_FIELD_NUMBER: _ClassVar[int]
    conf: PeerConf
    afi_safis: _containers.RepeatedCompositeFieldContainer[AfiSafi]
    def __init__(self, conf: _Optional[_Union[PeerConf, _Mapping]] = ..., afi_safis: _Optional[_Iterable[_Union[AfiSafi, _Mapping]]] = ...) -> None: ...

class PeerConf(_message.Message):
    __slots__ = ("neighbor_address", "peer_asn", "neighbor_interface")
    NEIGHBOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PEER_ASN_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_INTERFACE_FIELD_NUMBER: _ClassVar[int]
    neighbor_address: str
    peer_asn: int
    neighbor_interface: str
    def __init__(self, neighbor_address: _Optional[str] = ..., peer_asn: _Optional[int] = ..., neighbor_interface: _Optional[str] = ...) -> None: ...

class AfiSafi(_message.Message):
    __slots__ = ("config", "prefix_limits", "add_paths")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    PREFIX_LIMITS_FIELD_NUMBER: _ClassVar[int]
    ADD_PATHS_FIELD_NUMBER: _ClassVar[int]
    config: AfiSafiConfig
    prefix_limits: PrefixLimit
    add_paths: AddPaths
    def __init__(self, config: _Optional[_Union[AfiSafiConfig, _Mapping]] = ..., prefix_limits: _Optional[_Union[PrefixLimit, _Mapping]] = ..., add_paths: _Optional[_Union[AddPaths, _Mapping]] = ...) -> None: ...

class AfiSafiConfig(_message.Message):
    __slots__ = ("family",)
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    family: Family
    def __init__(self, family: _Optional[_Union[Family, _Mapping]] = ...) -> None: ...

class PrefixLimit(_message.Message):
    __slots__ = ("max_prefixes",)
    MAX_PREFIXES_FIELD_NUMBER: _ClassVar[int]
    max_prefixes: int
    def __init__(self, max_prefixes: _Optional[int] = ...) -> None: ...

class AddPaths(_message.Message):
    __slots__ = ("config",)
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    config: AddPathsConfig
    def __init__(self, config: _Optional[_Union[AddPathsConfig, _Mapping]] = ...) -> None: ...

class AddPathsConfig(_message.Message):
    __slots__ = ("receive", "send_max")
    RECEIVE_FIELD_NUMBER: _ClassVar[int]
    SEND_MAX_FIELD_NUMBER: _ClassVar[int]
    receive: bool
    send_max: int
    def __init__(self, receive: _Optional[bool] = ..., send_max: _Optional[int] = ...) -> None: ...

class ListDynamicNeighborRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListDynamicNeighborResponse(_message.Message):
    __slots__ = ("dynamic_neighbor",)
    DYNAMIC_NEIGHBOR_FIELD_NUMBER: _ClassVar[int]
    dynamic_neighbor: DynamicNeighbor
    def __init__(self, dynamic_neighbor: _Optional[_Union[DynamicNeighbor, _Mapping]] = ...) -> None: ...

class DynamicNeighbor(_message.Message):
    __slots__ = ("prefix",)
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    def __init__(self, prefix: _Optional[str] = ...) -> None: ...

class ListDefinedSetRequest(_message.Message):
    __slots__ = ("defined_type",)
    DEFINED_TYPE_FIELD_NUMBER: _ClassVar[int]
    defined_type: int
    def __init__(self, defined_type: _Optional[int] = ...) -> None: ...

class ListDefinedSetResponse(_message.Message):
    __slots__ = ("defined_set",)
    DEFINED_SET_FIELD_NUMBER: _ClassVar[int]
    defined_set: DefinedSet
    def __init__(self, defined_set: _Optional[_Union[DefinedSet, _Mapping]] = ...) -> None: ...

class DefinedSet(_message.Message):
    __slots__ = ("defined_type", "name", "list", "prefixes")
    DEFINED_TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    PREFIXES_FIELD_NUMBER: _ClassVar[int]
    defined_type: DefinedType
    name: str
    list: _containers.RepeatedScalarFieldContainer[str]
    prefixes: _containers.RepeatedCompositeFieldContainer[Prefix]
    def __init__(self, defined_type: _Optional[_Union[DefinedType, str]] = ..., name: _Optional[str] = ..., list: _Optional[_Iterable[str]] = ..., prefixes: _Optional[_Iterable[_Union[Prefix, _Mapping]]] = ...) -> None: ...

class Prefix(_message.Message):
    __slots__ = ("ip_prefix",)
    IP_PREFIX_FIELD_NUMBER: _ClassVar[int]
    ip_prefix: str
    def __init__(self, ip_prefix: _Optional[str] = ...) -> None: ...

class ListPolicyAssignmentRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPolicyAssignmentResponse(_message.Message):
    __slots__ = ("assignment",)
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    assignment: PolicyAssignment
    def __init__(self, assignment: _Optional[_Union[PolicyAssignment, _Mapping]] = ...) -> None: ...

class PolicyAssignment(_message.Message):
    __slots__ = ("name", "direction", "policies", "default_action")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_ACTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    direction: PolicyDirection
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    default_action: RouteAction
    def __init__(self, name: _Optional[str] = ..., direction: _Optional[_Union[PolicyDirection, str]] = ..., policies: _Optional[_Iterable[_Union[Policy, _Mapping]]] = ..., default_action: _Optional[_Union[RouteAction, str]] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("name", "statements")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    statements: _containers.RepeatedCompositeFieldContainer[Statement]
    def __init__(self, name: _Optional[str] = ..., statements: _Optional[_Iterable[_Union[Statement, _Mapping]]] = ...) -> None: ...

class Statement(_message.Message):
    __slots__ = ("name", "conditions", "actions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    conditions: Conditions
    actions: Actions
    def __init__(self, name: _Optional[str] = ..., conditions: _Optional[_Union[Conditions, _Mapping]] = ..., actions: _Optional[_Union[Actions, _Mapping]] = ...) -> None: ...

class MatchSet(_message.Message):
    __slots__ = ("type", "name")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ANY: _ClassVar[MatchSet.Type]
        ALL: _ClassVar[MatchSet.Type]
        INVERT: _ClassVar[MatchSet.Type]
    ANY: MatchSet.Type
    ALL: MatchSet.Type
    INVERT: MatchSet.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    type: MatchSet.Type
    name: str
    def __init__(self, type: _Optional[_Union[MatchSet.Type, str]] = ..., name: _Optional[str] = ...) -> None: ...

class AsPathLength(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Conditions(_message.Message):
    __slots__ = ("prefix_set", "neighbor_set", "as_path_length", "as_path_set", "community_set", "ext_community_set", "rpki_result", "route_type", "large_community_set", "next_hop_in_list", "afi_safi_in", "community_count", "origin", "local_pref_eq", "med_eq")
    PREFIX_SET_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_SET_FIELD_NUMBER: _ClassVar[int]
    AS_PATH_LENGTH_FIELD_NUMBER: _ClassVar[int]
    AS_PATH_SET_FIELD_NUMBER: _ClassVar[int]
    COMMUNITY_SET_FIELD_NUMBER: _ClassVar[int]
    EXT_COMMUNITY_SET_FIELD_NUMBER: _ClassVar[int]
    RPKI_RESULT_FIELD_NUMBER: _ClassVar[int]
    ROUTE_TYPE_FIELD_NUMBER: _ClassVar[int]
    LARGE_COMMUNITY_SET_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_IN_LIST_FIELD_NUMBER: _ClassVar[int]
    AFI_SAFI_IN_FIELD_NUMBER: _ClassVar[int]
    COMMUNITY_COUNT_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    LOCAL_PREF_EQ_FIELD_NUMBER: _ClassVar[int]
    MED_EQ_FIELD_NUMBER: _ClassVar[int]
    prefix_set: MatchSet
    neighbor_set: MatchSet
    as_path_length: AsPathLength
    as_path_set: MatchSet
    community_set: MatchSet
    ext_community_set: MatchSet
    rpki_result: int
    route_type: int
    large_community_set: MatchSet
    next_hop_in_list: _containers.RepeatedScalarFieldContainer[str]
    afi_safi_in: _containers.RepeatedCompositeFieldContainer[Family]
    community_count: Condition
    origin: int
    local_pref_eq: Condition
    med_eq: Condition
    def __init__(self, prefix_set: _Optional[_Union[MatchSet, _Mapping]] = ..., neighbor_set: _Optional[_Union[MatchSet, _Mapping]] = ..., as_path_length: _Optional[_Union[AsPathLength, _Mapping]] = ..., as_path_set: _Optional[_Union[MatchSet, _Mapping]] = ..., community_set: _Optional[_Union[MatchSet, _Mapping]] = ..., ext_community_set: _Optional[_Union[MatchSet, _Mapping]] = ..., rpki_result: _Optional[int] = ..., route_type: _Optional[int] = ..., large_community_set: _Optional[_Union[MatchSet, _Mapping]] = ..., next_hop_in_list: _Optional[_Iterable[str]] = ..., afi_safi_in: _Optional[_Iterable[_Union[Family, _Mapping]]] = ..., community_count: _Optional[_Union[Condition, _Mapping]] = ..., origin: _Optional[int] = ..., local_pref_eq: _Optional[_Union[Condition, _Mapping]] = ..., med_eq: _Optional[_Union[Condition, _Mapping]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Actions(_message.Message):
    __slots__ = ("route_action", "local_pref")
    ROUTE_ACTION_FIELD_NUMBER: _ClassVar[int]
    LOCAL_PREF_FIELD_NUMBER: _ClassVar[int]
    route_action: RouteAction
    local_pref: LocalPrefAction
    def __init__(self, route_action: _Optional[_Union[RouteAction, str]] = ..., local_pref: _Optional[_Union[LocalPrefAction, _Mapping]] = ...) -> None: ...

class LocalPrefAction(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: int
    def __init__(self, value: _Optional[int] = ...) -> None: ...
