import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Family(_message.Message):
    __slots__ = ("afi", "safi")
    AFI_FIELD_NUMBER: _ClassVar[int]
    SAFI_FIELD_NUMBER: _ClassVar[int]
    afi: int
    safi: int
    def __init__(self, afi: _Optional[int] = ..., safi: _Optional[int] = ...) -> None: ...

class Path(_message.Message):
    __slots__ = ("nlri", "pattrs", "age", "best", "is_withdraw", "family", "neighbor_ip", "identifier")
    NLRI_FIELD_NUMBER: _ClassVar[int]
    PATTRS_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    IS_WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_IP_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    nlri: bytes
    pattrs: _containers.RepeatedScalarFieldContainer[bytes]
    age: _timestamp_pb2.Timestamp
    best: bool
    is_withdraw: bool
    family: Family
    neighbor_ip: str
    identifier: int
    def __init__(self, nlri: _Optional[bytes] = ..., pattrs: _Optional[_Iterable[bytes]] = ..., age: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., best: _Optional[bool] = ..., is_withdraw: _Optional[bool] = ..., family: _Optional[_Union[Family, _Mapping]] = ..., neighbor_ip: _Optional[str] = ..., identifier: _Optional[int] = ...) -> None: ...

class Destination(_message.Message):
    __slots__ = ("prefix", "paths")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    paths: _containers.RepeatedCompositeFieldContainer[Path]
    def __init__(self, prefix: _Optional[str] = ..., paths: _Optional[_Iterable[_Union[Path, _Mapping]]] = ...) -> None: ...

class GetBgpRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Global(_message.Message):
    __slots__ = ("asn", "router_id")
    ASN_FIELD_NUMBER: _ClassVar[int]
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    asn: int
    router_id: str
    def __init__(self, asn: _Optional[int] = ..., router_id: _Optional[str] = ...) -> None: ...

class GetBgpResponse(_message.Message):
    __slots__ = ("config",)
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    config: Global
    def __init__(self, config: _Optional[_Union[Global, _Mapping]] = ...) -> None: ...

class ListPeerRequest(_message.Message):
    __slots__ = ("address", "enable_advertised")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ENABLE_ADVERTISED_FIELD_NUMBER: _ClassVar[int]
    address: str
    enable_advertised: bool
    def __init__(self, address: _Optional[str] = ..., enable_advertised: _Optional[bool] = ...) -> None: ...

class ListPeerResponse(_message.Message):
    __slots__ = ("peer",)
    PEER_FIELD_NUMBER: _ClassVar[int]
    peer: Peer
    def __init__(self, peer: _Optional[_Union[Peer, _Mapping]] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("conf", "state", "afi_safis")
    CONF_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AFI_SAFIS_FIELD_NUMBER: _ClassVar[int]
    conf: PeerConf
    state: PeerState
    afi_safis: _containers.RepeatedCompositeFieldContainer[AfiSafi]
    def __init__(self, conf: _Optional[_Union[PeerConf, _Mapping]] = ..., state: _Optional[_Union[PeerState, _Mapping]] = ..., afi_safis: _Optional[_Iterable[_Union[AfiSafi, _Mapping]]] = ...) -> None: ...

class PeerConf(_message.Message):
    __slots__ = ("neighbor_address", "peer_asn")
    NEIGHBOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PEER_ASN_FIELD_NUMBER: _ClassVar[int]
    neighbor_address: str
    peer_asn: int
    def __init__(self, neighbor_address: _Optional[str] = ..., peer_asn: _Optional[int] = ...) -> None: ...

class PeerState(_message.Message):
    __slots__ = ("session_state", "remote_cap", "local_cap")
    class SessionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[PeerState.SessionState]
        IDLE: _ClassVar[PeerState.SessionState]
        CONNECT: _ClassVar[PeerState.SessionState]
        ACTIVE: _ClassVar[PeerState.SessionState]
        OPENSENT: _ClassVar[PeerState.SessionState]
        OPENCONFIRM: _ClassVar[PeerState.SessionState]
        ESTABLISHED: _ClassVar[PeerState.SessionState]
    UNKNOWN: PeerState.SessionState
    IDLE: PeerState.SessionState
    CONNECT: PeerState.SessionState
    ACTIVE: PeerState.SessionState
    OPENSENT: PeerState.SessionState
    OPENCONFIRM: PeerState.SessionState
    ESTABLISHED: PeerState.SessionState
    SESSION_STATE_FIELD_NUMBER: _ClassVar[int]
    REMOTE_CAP_FIELD_NUMBER: _ClassVar[int]
    LOCAL_CAP_FIELD_NUMBER: _ClassVar[int]
    session_state: PeerState.SessionState
    remote_cap: _containers.RepeatedScalarFieldContainer[bytes]
    local_cap: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, session_state: _Optional[_Union[PeerState.SessionState, str]] = ..., remote_cap: _Optional[_Iterable[bytes]] = ..., local_cap: _Optional[_Iterable[bytes]] = ...) -> None: ...

class AfiSafi(_message.Message):
    __slots__ = ("mp_graceful_restart", "state")
    MP_GRACEFUL_RESTART_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    mp_graceful_restart: MpGracefulRestart
    state: AfiSafiState
    def __init__(self, mp_graceful_restart: _Optional[_Union[MpGracefulRestart, _Mapping]] = ..., state: _Optional[_Union[AfiSafiState, _Mapping]] = ...) -> None: ...

class MpGracefulRestart(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: MpGracefulRestartState
    def __init__(self, state: _Optional[_Union[MpGracefulRestartState, _Mapping]] = ...) -> None: ...

class MpGracefulRestartState(_message.Message):
    __slots__ = ("end_of_rib_received",)
    END_OF_RIB_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    end_of_rib_received: bool
    def __init__(self, end_of_rib_received: _Optional[bool] = ...) -> None: ...

class AfiSafiState(_message.Message):
    __slots__ = ("family", "enabled", "received", "accepted", "advertised")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ADVERTISED_FIELD_NUMBER: _ClassVar[int]
    family: Family
    enabled: bool
    received: int
    accepted: int
    advertised: int
    def __init__(self, family: _Optional[_Union[Family, _Mapping]] = ..., enabled: _Optional[bool] = ..., received: _Optional[int] = ..., accepted: _Optional[int] = ..., advertised: _Optional[int] = ...) -> None: ...

class TableLookupPrefix(_message.Message):
    __slots__ = ("prefix", "type")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    type: int
    def __init__(self, prefix: _Optional[str] = ..., type: _Optional[int] = ...) -> None: ...

class ListPathRequest(_message.Message):
    __slots__ = ("table_type", "name", "family", "prefixes")
    TABLE_TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    PREFIXES_FIELD_NUMBER: _ClassVar[int]
    table_type: int
    name: str
    family: Family
    prefixes: _containers.RepeatedCompositeFieldContainer[TableLookupPrefix]
    def __init__(self, table_type: _Optional[int] = ..., name: _Optional[str] = ..., family: _Optional[_Union[Family, _Mapping]] = ..., prefixes: _Optional[_Iterable[_Union[TableLookupPrefix, _Mapping]]] = ...) -> None: ...

class ListPathResponse(_message.Message):
    __slots__ = ("destination",)
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    destination: Destination
    def __init__(self, destination: _Optional[_Union[Destination, _Mapping]] = ...) -> None: ...

class GetTableRequest(_message.Message):
    __slots__ = ("table_type", "family")
    TABLE_TYPE_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    table_type: int
    family: Family
    def __init__(self, table_type: _Optional[int] = ..., family: _Optional[_Union[Family, _Mapping]] = ...) -> None: ...

class GetTableResponse(_message.Message):
    __slots__ = ("num_path",)
    NUM_PATH_FIELD_NUMBER: _ClassVar[int]
    num_path: int
    def __init__(self, num_path: _Optional[int] = ...) -> None: ...

class ResetPeerRequest(_message.Message):
    __slots__ = ("address", "communication")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    COMMUNICATION_FIELD_NUMBER: _ClassVar[int]
    address: str
    communication: str
    def __init__(self, address: _Optional[str] = ..., communication: _Optional[str] = ...) -> None: ...

class ResetPeerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AddPathStreamRequest(_message.Message):
    __slots__ = ("table_type", "paths")
    TABLE_TYPE_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    table_type: int
    paths: _containers.RepeatedCompositeFieldContainer[Path]
    def __init__(self, table_type: _Optional[int] = ..., paths: _Optional[_Iterable[_Union[Path, _Mapping]]] = ...) -> None: ...

class AddPathStreamResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchEventRequest(_message.Message):
    __slots__ = ("peer", "table")
    class Peer(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Table(_message.Message):
        __slots__ = ("filters",)
        class Filter(_message.Message):
            __slots__ = ("type", "init")
            TYPE_FIELD_NUMBER: _ClassVar[int]
            INIT_FIELD_NUMBER: _ClassVar[int]
            type: int
            init: bool
            def __init__(self, type: _Optional[int] = ..., init: _Optional[bool] = ...) -> None: ...
        FILTERS_FIELD_NUMBER: _ClassVar[int]
        filters: _containers.RepeatedCompositeFieldContainer[WatchEventRequest.Table.Filter]
        def __init__(self, filters: _Optional[_Iterable[_Union[WatchEventRequest.Table.Filter, _Mapping]]] = ...) -> None: ...
    PEER_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    peer: WatchEventRequest.Peer
    table: WatchEventRequest.Table
    def __init__(self, peer: _Optional[_Union[WatchEventRequest.Peer, _Mapping]] = ..., table: _Optional[_Union[WatchEventRequest.Table, _Mapping]] = ...) -> None: ...

class WatchEventResponse(_message.Message):
    __slots__ = ("peer", "table")
    class PeerEvent(_message.Message):
        __slots__ = ("type", "peer")
        TYPE_FIELD_NUMBER: _ClassVar[int]
        PEER_FIELD_NUMBER: _ClassVar[int]
        type: int
        peer: Peer
        def __init__(self, type: _Optional[int] = ..., peer: _Optional[_Union[Peer, _Mapping]] = ...) -> None: ...
    class TableEvent(_message.Message):
        __slots__ = ("paths",)
        PATHS_FIELD_NUMBER: _ClassVar[int]
        paths: _containers.RepeatedScalarFieldContainer[bytes]
        def __init__(self, paths: _Optional[_Iterable[bytes]] = ...) -> None: ...
    PEER_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    peer: WatchEventResponse.PeerEvent
    table: WatchEventResponse.TableEvent
    def __init__(self, peer: _Optional[_Union[WatchEventResponse.PeerEvent, _Mapping]] = ..., table: _Optional[_Union[WatchEventResponse.TableEvent, _Mapping]] = ...) -> None: ...

class IPAddressPrefix(_message.Message):
    __slots__ = ("prefix_len", "prefix")
    PREFIX_LEN_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix_len: int
    prefix: str
    def __init__(self, prefix_len: _Optional[int] = ..., prefix: _Optional[str] = ...) -> None: ...

class EncapsulationNLRI(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class UnknownAttribute(_message.Message):
    __slots__ = ("flags", "type", "value")
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    flags: int
    type: int
    value: bytes
    def __init__(self, flags: _Optional[int] = ..., type: _Optional[int] = ..., value: _Optional[bytes] = ...) -> None: ...

class OriginAttribute(_message.Message):
    __slots__ = ("origin",)
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    origin: int
    def __init__(self, origin: _Optional[int] = ...) -> None: ...

class AsSegment(_message.Message):
    __slots__ = ("type", "numbers")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    type: int
    numbers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, type: _Optional[int] = ..., numbers: _Optional[_Iterable[int]] = ...) -> None: ...

class AsPathAttribute(_message.Message):
    __slots__ = ("segments",)
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    segments: _containers.RepeatedCompositeFieldContainer[AsSegment]
    def __init__(self, segments: _Optional[_Iterable[_Union[AsSegment, _Mapping]]] = ...) -> None: ...

class NextHopAttribute(_message.Message):
    __slots__ = ("next_hop",)
    NEXT_HOP_FIELD_NUMBER: _ClassVar[int]
    next_hop: str
    def __init__(self, next_hop: _Optional[str] = ...) -> None: ...

class MultiExitDiscAttribute(_message.Message):
    __slots__ = ("med",)
    MED_FIELD_NUMBER: _ClassVar[int]
    med: int
    def __init__(self, med: _Optional[int] = ...) -> None: ...

class LocalPrefAttribute(_message.Message):
    __slots__ = ("local_pref",)
    LOCAL_PREF_FIELD_NUMBER: _ClassVar[int]
    local_pref: int
    def __init__(self, local_pref: _Optional[int] = ...) -> None: ...

class CommunitiesAttribute(_message.Message):
    __slots__ = ("communities",)
    COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    communities: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, communities: _Optional[_Iterable[int]] = ...) -> None: ...

class LargeCommunity(_message.Message):
    __slots__ = ("global_admin", "local_data1", "local_data2")
    GLOBAL_ADMIN_FIELD_NUMBER: _ClassVar[int]
    LOCAL_DATA1_FIELD_NUMBER: _ClassVar[int]
    LOCAL_DATA2_FIELD_NUMBER: _ClassVar[int]
    global_admin: int
    local_data1: int
    local_data2: int
    def __init__(self, global_admin: _Optional[int] = ..., local_data1: _Optional[int] = ..., local_data2: _Optional[int] = ...) -> None: ...

class LargeCommunitiesAttribute(_message.Message):
    __slots__ = ("communities",)
    COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    communities: _containers.RepeatedCompositeFieldContainer[LargeCommunity]
    def __init__(self, communities: _Optional[_Iterable[_Union[LargeCommunity, _Mapping]]] = ...) -> None: ...

class MpReachNLRIAttribute(_message.Message):
    __slots__ = ("family", "next_hops")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOPS_FIELD_NUMBER: _ClassVar[int]
    family: Family
    next_hops: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, family: _Optional[_Union[Family, _Mapping]] = ..., next_hops: _Optional[_Iterable[str]] = ...) -> None: ...

class AddPathCapabilityTuple(_message.Message):
    __slots__ = ("family", "mode")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    family: Family
    mode: int
    def __init__(self, family: _Optional[_Union[Family, _Mapping]] = ..., mode: _Optional[int] = ...) -> None: ...

class AddPathCapability(_message.Message):
    __slots__ = ("tuples",)
    TUPLES_FIELD_NUMBER: _ClassVar[int]
    tuples: _containers.RepeatedCompositeFieldContainer[AddPathCapabilityTuple]
    def __init__(self, tuples: _Optional[_Iterable[_Union[AddPathCapabilityTuple, _Mapping]]] = ...) -> None: ...

class Nlri(_message.Message):
    __slots__ = ("prefix", "encapsulation")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    ENCAPSULATION_FIELD_NUMBER: _ClassVar[int]
    prefix: IPAddressPrefix
    encapsulation: EncapsulationNLRI
    def __init__(self, prefix: _Optional[_Union[IPAddressPrefix, _Mapping]] = ..., encapsulation: _Optional[_Union[EncapsulationNLRI, _Mapping]] = ...) -> None: ...

class Attribute(_message.Message):
    __slots__ = ("unknown", "origin", "as_path", "next_hop", "multi_exit_disc", "local_pref", "communities", "mp_reach", "large_communities")
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AS_PATH_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_FIELD_NUMBER: _ClassVar[int]
    MULTI_EXIT_DISC_FIELD_NUMBER: _ClassVar[int]
    LOCAL_PREF_FIELD_NUMBER: _ClassVar[int]
    COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    MP_REACH_FIELD_NUMBER: _ClassVar[int]
    LARGE_COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    unknown: UnknownAttribute
    origin: OriginAttribute
    as_path: AsPathAttribute
    next_hop: NextHopAttribute
    multi_exit_disc: MultiExitDiscAttribute
    local_pref: LocalPrefAttribute
    communities: CommunitiesAttribute
    mp_reach: MpReachNLRIAttribute
    large_communities: LargeCommunitiesAttribute
    def __init__(self, unknown: _Optional[_Union[UnknownAttribute, _Mapping]] = ..., origin: _Optional[_Union[OriginAttribute, _Mapping]] = ..., as_path: _Optional[_Union[AsPathAttribute, _Mapping]] = ..., next_hop: _Optional[_Union[NextHopAttribute, _Mapping]] = ..., multi_exit_disc: _Optional[_Union[MultiExitDiscAttribute, _Mapping]] = ..., local_pref: _Optional[_Union[LocalPrefAttribute, _Mapping]] = ..., communities: _Optional[_Union[CommunitiesAttribute, _Mapping]] = ..., mp_reach: _Optional[_Union[MpReachNLRIAttribute, _Mapping]] = ..., large_communities: _Optional[_Union[LargeCommunitiesAttribute, _Mapping]] = ...) -> None: ...

class Capability(_message.Message):
    __slots__ = ("add_path",)
    ADD_PATH_FIELD_NUMBER: _ClassVar[int]
    add_path: AddPathCapability
    def __init__(self, add_path: _Optional[_Union[AddPathCapability, _Mapping]] = ...) -> None: ...
