"""The protobuf messages of MindIR (package ``mind_ir``), made from a table of their fields.

The descriptors live in a pool of their own, so that they never meet MindSpore's own copy in
one process. Source: ``mindspore/core/proto/mind_ir.proto`` of MindSpore 1.1 to 2.10.
"""

from __future__ import annotations

import functools
from typing import Any

# Message -> fields: number, name, type; "*" repeats. A capital starts a message's name.
# Fields that carry nothing for inference (parallel layouts, preprocessing) are left out: a
# parser keeps them as unknown fields.
_MESSAGES: dict[str, str] = {
    "ModelProto": """
        1 ir_version string; 2 producer_name string; 3 producer_version string;
        4 domain string; 5 model_version string; 6 doc_string string; 7 graph GraphProto;
        8 functions *GraphProto; 10 little_endian bool; 12 primitives *PrimitiveProto;
        13 mind_ir_version int64; 14 user_info *UserInfoEntry""",
    "UserInfoEntry": "1 key string; 2 value string",
    "GraphProto": """
        1 node *NodeProto; 2 name string; 3 parameter *TensorProto; 4 doc_string string;
        5 input *ValueInfoProto; 6 output *ValueInfoProto; 7 bprop_hash string;
        8 attribute *AttributeProto; 9 bprop_filepath string; 10 map_parameter *MapTensorProto""",
    "NodeProto": """
        1 input *string; 2 output *string; 3 name string; 4 op_type string;
        5 attribute *AttributeProto; 6 doc_string string; 7 domain string;
        8 node_attr *AttributeProto; 9 primal_attr *AttributeProto""",
    "ValueInfoProto": """
        1 name string; 2 tensor *TensorProto; 3 doc_string string; 4 denotation string;
        5 attr_info AttributeProto""",
    "PrimitiveProto": """
        1 name string; 2 op_type string; 3 attribute *AttributeProto; 4 instance_name string;
        5 prim_type int32""",
    "TensorProto": """
        1 dims *int64; 2 data_type int32; 3 float_data *float; 4 int32_data *int32;
        5 string_data *bytes; 6 int64_data *int64; 7 name string; 8 doc_string string;
        9 raw_data bytes; 10 double_data *double; 11 uint64_data *uint64;
        12 external_data ExternalDataProto; 13 ref_key string; 14 min_dims *int64;
        15 max_dims *int64; 16 compression_type int32; 17 quant_params *QuantParamProto""",
    "ExternalDataProto": "1 location string; 2 offset int64; 3 length int64; 4 checksum string",
    "QuantParamProto": "1 quant_algo_name string; 2 attribute *AttributeProto",
    "MapTensorProto": """
        1 name string; 2 default_value AttributeProto; 3 key_tensor TensorProto;
        4 value_tensor TensorProto; 5 status_tensor TensorProto""",
    "AttributeProto": """
        1 name string; 2 f float; 3 i int64; 4 d double; 5 s bytes; 6 t TensorProto;
        7 g GraphProto; 8 floats *float; 9 doubles *double; 10 ints *int64; 11 strings *bytes;
        12 tensors *TensorProto; 13 graphs *GraphProto; 14 doc_string string;
        15 ref_attr_name string; 16 type int32; 17 values *AttributeProto;
        18 seq_info SeqInfoProto""",
    "SeqInfoProto": "1 is_dyn_len bool; 2 tuple_elem_item AttributeProto",
}

# Numbers of google.protobuf.FieldDescriptorProto.Type.
_TYPES = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3
# The entry of ``ModelProto.user_info`` that has the names of the outputs, a JSON list.
OUTPUT_NAMES = "output_names"
_PACKAGE = "mind_ir"


@functools.cache
def messages() -> dict[str, Any]:
    """The message classes by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="opweave/mind_ir.proto", package=_PACKAGE, syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(";"):
            number, field_name, kind = field.split()
            repeated, kind = kind.startswith("*"), kind.lstrip("*")
            entry = message.field.add(
                name=field_name, number=int(number), label=_REPEATED if repeated else _OPTIONAL
            )
            if kind in _TYPES:
                entry.type = _TYPES[kind]
            else:
                entry.type, entry.type_name = _MESSAGE, f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


def message(name: str) -> Any:
    """The class of one message."""
    return messages()[name]
