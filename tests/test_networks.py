"""Network definitions: MindSpore's names and sizes, graphs, options."""

import pytest

import opweave as ow
from opweave.ir import Graph, ModelError, check, symbol
from opweave.networks import network_named, network_names, trace
from opweave.networks.mobilenet import make_divisible

# Parameters and multiply-adds of MindSpore's model zoo: measured on its exported graphs.
SIZES = {
    "lenet": (61_684, 0.0004e9),
    "resnet18": (11_699_625, 1.814e9),
    "resnet34": (21_815_209, 3.664e9),
    "resnet50": (25_612_201, 4.089e9),
    "resnet101": (44_656_553, 7.801e9),
    "resnet152": (60_346_281, 11.514e9),
    "mobilenet_v2": (3_538_984, 0.301e9),
    "vgg16": (138_353_320, 15.470e9),
    "bert_base": (102_269_186, 11.174e9),
    "tinybert": (19_165_058, 0.956e9),
    "unet_medical": (31_029_698, 150.428e9),
    "wide_deep": (20_085_058, 0.003883e9),
    # Not the zoo's sizes: the figures follow from the layers by hand.
    "unet": (31_039_680, 48.096e9),
    "bilstm": (8_721_794, 0.347081e9),
}

# Convolutions (kernel, channels in > out, @ output height), pools and dense layers, in order.
LAYERS = {
    "lenet": "5x5 1>6@28; Max@14; 5x5 6>16@10; Max@5; FC 400>120; FC 120>84; FC 84>10",
    "resnet18": "7x7 3>64@112; Max@56; " + "3x3 64>64@56; " * 4 + "3x3 64>128@28; "
    "3x3 128>128@28; 1x1 64>128@28; 3x3 128>128@28; 3x3 128>128@28; 3x3 128>256@14; "
    "3x3 256>256@14; 1x1 128>256@14; 3x3 256>256@14; 3x3 256>256@14; 3x3 256>512@7; "
    "3x3 512>512@7; 1x1 256>512@7; 3x3 512>512@7; 3x3 512>512@7; FC 512>1001",
    "vgg16": "3x3 3>64@224; 3x3 64>64@224; Max@112; 3x3 64>128@112; 3x3 128>128@112; Max@56; "
    "3x3 128>256@56; 3x3 256>256@56; 3x3 256>256@56; Max@28; 3x3 256>512@28; 3x3 512>512@28; "
    "3x3 512>512@28; Max@14; 3x3 512>512@14; 3x3 512>512@14; 3x3 512>512@14; Max@7; "
    "FC 25088>4096; FC 4096>4096; FC 4096>1000",
    "unet_medical": "3x3 1>64@570; 3x3 64>64@568; Max@284; 3x3 64>128@282; 3x3 128>128@280; "
    "Max@140; 3x3 128>256@138; 3x3 256>256@136; Max@68; 3x3 256>512@66; 3x3 512>512@64; Max@32; "
    "3x3 512>1024@30; 3x3 1024>1024@28; D2x2 1024>512@56; 3x3 1024>512@54; 3x3 512>512@52; "
    "D2x2 512>256@104; 3x3 512>256@102; 3x3 256>256@100; D2x2 256>128@200; 3x3 256>128@198; "
    "3x3 128>128@196; D2x2 128>64@392; 3x3 128>64@390; 3x3 64>64@388; 1x1 64>2@388",
}

NAMES = {
    "lenet": {"conv1.weight": (6, 1, 5, 5), "fc1.weight": (120, 400), "fc3.bias": (10,)},
    "resnet18": {
        "conv1.weight": (64, 3, 7, 7),
        "layer1.0.bn1d.gamma": (64,),
        "layer2.0.down_sample_layer.1.moving_mean": (128,),
        "layer4.1.bn2d.moving_variance": (512,),
    },
    "resnet50": {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.gamma": (64,),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.bn1.moving_mean": (64,),
        "layer1.0.down_sample_layer.0.weight": (256, 64, 1, 1),
        "layer3.5.conv2.weight": (256, 256, 3, 3),
        "layer4.2.bn3.beta": (2048,),
        "end_point.weight": (1001, 2048),
        "end_point.bias": (1001,),
    },
    "mobilenet_v2": {
        "features.0.features.0.weight": (32, 3, 3, 3),
        "features.0.features.1.moving_variance": (32,),
        "features.1.conv.0.features.0.weight": (32, 1, 3, 3),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.2.conv.1.features.1.gamma": (96,),
        "features.17.conv.3.beta": (320,),
        "features.18.features.0.weight": (1280, 320, 1, 1),
        "head.1.weight": (1000, 1280),
    },
    "vgg16": {
        "layers.0.weight": (64, 3, 3, 3),
        "layers.28.weight": (512, 512, 3, 3),
        "classifier.0.weight": (4096, 25088),
        "classifier.6.bias": (1000,),
    },
    "bert_base": {
        "bert.bert_embedding_lookup.embedding_table": (21128, 768),
        "bert.bert_embedding_postprocessor.token_type_embedding.embedding_table": (2, 768),
        "bert.bert_embedding_postprocessor.full_position_embedding.embedding_table": (512, 768),
        "bert.bert_embedding_postprocessor.layernorm.gamma": (768,),
        "bert.bert_encoder.layers.0.attention.attention.query_layer.weight": (768, 768),
        "bert.bert_encoder.layers.11.attention.output.dense.bias": (768,),
        "bert.bert_encoder.layers.11.attention.output.layernorm.beta": (768,),
        "bert.bert_encoder.layers.3.intermediate.weight": (3072, 768),
        "bert.bert_encoder.layers.3.output.dense.weight": (768, 3072),
        "bert.dense.weight": (768, 768),
        "dense_1.weight": (2, 768),
    },
    "tinybert": {
        "bert.bert_embedding_lookup.embedding_table": (30522, 384),
        "bert.bert_encoder.layers.3.output.dense.weight": (384, 1536),
    },
    "unet": {
        "conv0.convs.0.0.weight": (64, 1, 3, 3),
        "conv4.convs.1.1.moving_variance": (1024,),
        "up_concat4.up_conv.weight": (1024, 512, 2, 2),
        "up_concat1.conv.convs.0.0.weight": (64, 128, 3, 3),
        "final.weight": (2, 64, 1, 1),
    },
    "unet_medical": {
        "inc.double_conv.0.weight": (64, 1, 3, 3),
        "down4.maxpool_conv.1.double_conv.2.bias": (1024,),
        "up1.up.weight": (1024, 512, 2, 2),
        "up4.conv.double_conv.0.weight": (64, 128, 3, 3),
        "outc.conv.bias": (2,),
    },
    "wide_deep": {
        "Wide_b": (1,),
        "dense_layer_1.weight": (3120, 1024),
        "dense_layer_5.bias": (1,),
        "wide_embeddinglookup.embedding_table": (200_000, 1),
    },
    "bilstm": {
        "embedding.embedding_table": (20_000, 300),
        "encoder.weight_ih_l1_reverse": (1024, 512),
        "encoder.bias_hh_l0": (1024,),
        "decoder.weight": (2, 1024),
    },
}


@pytest.fixture(scope="module")
def networks():
    return {name: network_named(name)[0] for name in network_names()}


def test_sizes_cover_all_networks():
    assert set(SIZES) == set(network_names())


@pytest.mark.parametrize("name", SIZES)
def test_parameters(networks, name):
    parameters = networks[name].parameters_dict()
    assert sum(parameter.type.size for parameter in parameters.values()) == SIZES[name][0]
    for wanted, shape in NAMES.get(name, {}).items():
        assert parameters[wanted].shape == shape
        assert parameters[wanted].name == wanted


@pytest.mark.parametrize("name", SIZES)
def test_graph(networks, name):
    network = networks[name]
    graph = trace(network)
    check(graph)
    assert set(graph.params) - set(network.parameters_dict()) <= {
        value for value in graph.params if value.startswith("constant")
    }
    assert set(network.parameters_dict()) <= set(graph.params)
    products = [node for node in graph.operators() if node.op.traits & {"dot", "recurrent"}]
    multiplied = sum(
        node.op.cost_of([graph.type(v) for v in node.operands], node.attrs).flops // 2
        for node in products
    )
    # The zoo's figures leave out the products of attention scores and are rounded.
    assert multiplied == pytest.approx(SIZES[name][1], rel=0.02, abs=1e5)


@pytest.mark.parametrize("name", SIZES)
def test_symbolic_batch(name):
    options = {} if name == "wide_deep" else {"num_classes": 7}
    network, types = network_named(name, batch=symbol("n", 1), **options)
    graph = trace(network, *types)
    check(graph)
    shapes = {"wide_deep": ["n, 1"] * 2, "unet": ["n, 7, 256, 256"]}
    shapes["unet_medical"] = ["n, 7, 388, 388"]
    expected = [f"float32[{shape}]" for shape in shapes.get(name, ["n, 7"])]
    assert [str(graph.type(value)) for value in graph.outputs] == expected
    assert not graph.equalities


def described(graph: Graph) -> str:
    found = []
    for node in graph.operators():
        kinds = [graph.type(value) for value in node.operands]
        if node.op.name == "convolution":
            weight, height = kinds[1].shape, node.types[0].shape[2]
            depth = "g" if node.attrs["groups"] > 1 else ""
            kernel = f"{weight[2]}x{weight[3]}"
            inputs = kinds[0].shape[1]
            found.append(f"{kernel} {inputs}>{weight[0]}{depth}@{height}")
        elif node.op.name == "convolution_transpose":
            weight, height = kinds[1].shape, node.types[0].shape[2]
            found.append(f"D{weight[2]}x{weight[3]} {weight[0]}>{weight[1]}@{height}")
        elif node.op.name == "max_pool":
            found.append(f"Max@{node.types[0].shape[2]}")
        elif node.op.name == "matmul":
            found.append(f"FC {kinds[1].shape[1]}>{kinds[1].shape[0]}")
    return "; ".join(found)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_in_order(networks, name):
    assert described(trace(networks[name])) == LAYERS[name]


def test_layers_of_mobilenet(networks):
    found = described(trace(networks["mobilenet_v2"])).split("; ")
    assert found[:6] == [
        *("3x3 3>32@112", "3x3 32>32g@112", "1x1 32>16@112"),
        *("1x1 16>96@112", "3x3 96>96g@56", "1x1 96>24@56"),
    ]
    assert found[-5:] == [
        *("1x1 160>960@7", "3x3 960>960g@7", "1x1 960>320@7"),
        *("1x1 320>1280@7", "FC 1280>1000"),
    ]
    assert len(found) == 53
    assert [make_divisible(width, 8) for width in (32 * 0.35, 24, 16 * 0.5, 90)] == [16, 24, 8, 88]


def test_options():
    _, types = network_named("bert_base", batch=symbol("n"), length=symbol("t"))
    assert [str(type_) for type_ in types] == ["int32[n, t]"] * 3
    small, _ = network_named("tinybert", size="4x312")
    assert small.parameters_dict()["bert.dense.weight"].shape == (312, 312)
    large, _ = network_named("tinybert", size="6x768")
    assert "bert.bert_encoder.layers.5.intermediate.bias" in large.parameters_dict()
    normalised = ow.networks.vgg16(10, batch_norm=True, pad_mode="same", padding=0)
    assert normalised.parameters_dict()["layers.1.gamma"].shape == (64,)
    assert "head.2.weight" in ow.networks.mobilenet_v2(has_dropout=True).parameters_dict()
    with pytest.raises(ModelError, match=r"no network 'resnet51'.*resnet50"):
        network_named("resnet51")
    with pytest.raises(ModelError, match="no option classes"):
        network_named("resnet50", classes=3)
    for name in ("lenet", "wide_deep"):
        with pytest.raises(ModelError, match="does not take sequences"):
            network_named(name, length=3)
    with pytest.raises(ModelError, match="positions end at 512"):
        trace(*_with_types(network_named("bert_base", length=513)))


def _with_types(found):
    network, types = found
    return network, *types
